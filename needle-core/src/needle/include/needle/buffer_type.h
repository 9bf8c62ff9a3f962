// A device's memory as Python holds it: a type with `nbytes`, `ptr()` and, where the host can reach the bytes, the
// buffer protocol. For extensions of C++17. The device says what a piece of its memory is:
//
//   struct Memory : needle::MemoryDefaults {
//     static constexpr const char* kName = "needle_backend_toy._ext.Buffer";
//     static constexpr const char* kDoc = "Memory of the toy device, freed with its last reference.";
//     explicit Memory(size_t nbytes);  // allocates, or throws
//     ~Memory();                       // frees
//     char* data;                      // the first byte
//   };
//   using Buffer = needle::BufferType<Memory>;
//
// Then `Buffer::make(nbytes)` is a new object, and `Buffer::of(object)` the Memory in it.
#ifndef NEEDLE_BUFFER_TYPE_H
#define NEEDLE_BUFFER_TYPE_H

#include <cstddef>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "python.h"

namespace needle {

// What a device's Memory inherits, and hides where it has more to say.
struct MemoryDefaults {
  static constexpr bool kOnHost = true;                 // whether it has the buffer protocol
  static PyGetSetDef* properties() { return nullptr; }  // further ones of the Python type
  void lent() {}                                        // the bytes are handed out by the buffer protocol
  void addressed() {}                                   // somebody is told the address, for good
};

struct BufferHead {
  PyObject_HEAD Py_ssize_t nbytes;
};

template <class Memory> class BufferType {
 public:
  static PyTypeObject* type() {
    static PyTypeObject* const made = make_type();
    return made;
  }

  // A new reference. What follows the size goes to Memory as well.
  template <class... Arguments> static PyObject* make(int64_t nbytes, Arguments&&... arguments) {
    if (nbytes < 0) throw std::invalid_argument("allocate: a negative number of bytes");
    Object* const object = PyObject_New(Object, type());
    if (object == nullptr) throw PythonError();
    try {
      new (&object->memory) Memory(static_cast<size_t>(nbytes), std::forward<Arguments>(arguments)...);
    } catch (...) {
      free(object);
      throw;
    }
    object->nbytes = static_cast<Py_ssize_t>(nbytes);
    return reinterpret_cast<PyObject*>(object);
  }

  static Memory& of(PyObject* buffer) { return checked(buffer)->memory; }

  // The `nbytes` bytes that begin at `offset`.
  static char* part(PyObject* buffer, int64_t offset, int64_t nbytes) {
    Object* const object = checked(buffer);
    if (offset >= 0 && offset <= object->nbytes && nbytes <= object->nbytes - offset) {
      return object->memory.data + offset;
    }
    PyErr_SetString(PyExc_ValueError, "the bytes lie outside the buffer");
    throw PythonError();
  }

 private:
  struct Object : BufferHead {
    Memory memory;
  };

  static Object* cast(PyObject* self) { return static_cast<Object*>(reinterpret_cast<BufferHead*>(self)); }

  static Object* checked(PyObject* buffer) {
    if (Py_TYPE(buffer) == type()) return cast(buffer);
    PyErr_SetString(PyExc_TypeError, "the view's buffer is not of this device");
    throw PythonError();
  }

  static void free(Object* object) {
    PyTypeObject* const type = Py_TYPE(object);
    PyObject_Free(object);
    Py_DECREF(type);
  }

  static void deallocate(PyObject* self) {
    cast(self)->memory.~Memory();
    free(cast(self));
  }

  static PyObject* ptr(PyObject* self, PyObject*) {
    cast(self)->memory.addressed();
    return PyLong_FromVoidPtr(cast(self)->memory.data);
  }

  static int get_bytes(PyObject* self, Py_buffer* view, int flags) {
    Object* const object = cast(self);
    object->memory.lent();
    return PyBuffer_FillInfo(view, self, object->memory.data, object->nbytes, 0, flags);
  }

  static PyTypeObject* make_type() {
    static PyMemberDef members[] = {
        {"nbytes", T_PYSSIZET, offsetof(BufferHead, nbytes), READONLY, "Bytes asked for."},
        {nullptr, 0, 0, 0, nullptr},
    };
    static PyMethodDef methods[] = {
        {"ptr", ptr, METH_NOARGS, "The address of the first byte."},
        {nullptr, nullptr, 0, nullptr},
    };
    static std::vector<PyType_Slot> slots = {
        {Py_tp_doc, const_cast<char*>(Memory::kDoc)},
        {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
        {Py_tp_members, members},
        {Py_tp_methods, methods},
    };
    if (Memory::properties() != nullptr) slots.push_back({Py_tp_getset, Memory::properties()});
    if (Memory::kOnHost) slots.push_back({Py_bf_getbuffer, reinterpret_cast<void*>(get_bytes)});
    slots.push_back({0, nullptr});
    static PyType_Spec spec = {Memory::kName, sizeof(Object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                               slots.data()};
    PyObject* const type = PyType_FromSpec(&spec);
    if (type == nullptr) throw PythonError();
    return reinterpret_cast<PyTypeObject*>(type);
  }
};

}  // namespace needle

#endif  // NEEDLE_BUFFER_TYPE_H
