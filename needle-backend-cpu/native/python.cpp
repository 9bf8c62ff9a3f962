#include "python.h"

#include <structmember.h>

#include <new>

#include "buffer.h"

namespace needle {
namespace {

// Reads one attribute of objects that keep it in `__slots__`: the slot's place in the object is looked up once per
// type, as PyMemberDef tells it. Objects of any other kind are asked the ordinary way.
class Slot {
 public:
  explicit Slot(const char* name) : name_(PyUnicode_InternFromString(name)) {}

  // A new reference.
  PyObject* get(PyObject* object) {
    if (Py_TYPE(object) != type_) look_up(Py_TYPE(object));
    if (offset_ > 0) {
      PyObject* value = *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + offset_);
      if (value != nullptr) return Py_NewRef(value);
    }
    PyObject* value = PyObject_GetAttr(object, name_);
    if (value == nullptr) throw PythonError();
    return value;
  }

  int64_t integer(PyObject* object) {
    PyObject* value = get(object);
    const long long number = value == Py_True ? 1 : value == Py_False ? 0 : PyLong_AsLongLong(value);
    Py_DECREF(value);
    if (number == -1 && PyErr_Occurred() != nullptr) throw PythonError();
    return number;
  }

 private:
  void look_up(PyTypeObject* type) {
    PyObject* found = PyObject_GetAttr(reinterpret_cast<PyObject*>(type), name_);
    PyErr_Clear();
    offset_ = 0;
    if (found != nullptr && Py_TYPE(found) == &PyMemberDescr_Type) {
      const PyMemberDef* member = reinterpret_cast<PyMemberDescrObject*>(found)->d_member;
      if (member->type == T_OBJECT_EX) offset_ = member->offset;
    }
    Py_XDECREF(found);
    Py_INCREF(type);  // so that no other type takes its address
    Py_XDECREF(reinterpret_cast<PyObject*>(type_));
    type_ = type;
  }

  PyObject* name_;
  PyTypeObject* type_ = nullptr;
  Py_ssize_t offset_ = 0;
};

void read_integers(PyObject* tuple, int64_t* out) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i) {
    out[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, i));
    if (out[i] == -1 && PyErr_Occurred() != nullptr) throw PythonError();
  }
}

struct Owned {  // a reference that ends with the scope
  PyObject* object;
  ~Owned() { Py_DECREF(object); }
};

void read_shape(PyObject* layout, View& view) {
  static Slot shape_slot("shape"), strides_slot("strides");
  const Owned shape{shape_slot.get(layout)}, strides{strides_slot.get(layout)};
  if (!PyTuple_CheckExact(shape.object) || PyTuple_GET_SIZE(shape.object) > kMaxRank) {
    PyErr_Format(PyExc_ValueError, "a shape is a tuple of at most %d sizes", kMaxRank);
    throw PythonError();
  }
  view.rank = static_cast<int32_t>(PyTuple_GET_SIZE(shape.object));
  read_integers(shape.object, view.shape);
  read_integers(strides.object, view.strides);
}

// Fills `view` from a needle.backend.View and returns its buffer, a new reference.
PyObject* read_view(PyObject* object, View& view, bool shaped) {
  static Slot buffer_slot("buffer"), layout_slot("layout"), dtype_slot("dtype"), code_slot("code");
  static Slot contiguous_slot("contiguous"), size_slot("size"), offset_slot("offset");
  const Owned layout{layout_slot.get(object)}, dtype{dtype_slot.get(object)};
  view.dtype = static_cast<DType>(code_slot.integer(dtype.object));
  view.contiguous = contiguous_slot.integer(layout.object) != 0;
  view.size = size_slot.integer(layout.object);
  if (shaped || !view.contiguous) read_shape(layout.object, view);
  const int64_t offset = offset_slot.integer(layout.object);
  PyObject* buffer = buffer_slot.get(object);
  if (Py_TYPE(buffer) != buffer_type()) {
    Py_DECREF(buffer);
    PyErr_SetString(PyExc_TypeError, "the view's buffer is not of this device");
    throw PythonError();
  }
  view.data = static_cast<char*>(reinterpret_cast<BufferObject*>(buffer)->data) + offset * item_size(view.dtype);
  return buffer;
}

// needle.errors.<name>(*arguments); a reference to `arguments` is taken over.
void raise_needle_error(const char* name, PyObject* arguments) {
  PyObject* errors = PyImport_ImportModule("needle.errors");
  PyObject* type = errors == nullptr ? nullptr : PyObject_GetAttrString(errors, name);
  PyObject* error = type == nullptr || arguments == nullptr ? nullptr : PyObject_CallObject(type, arguments);
  if (error != nullptr) PyErr_SetObject(type, error);
  Py_XDECREF(error);
  Py_XDECREF(type);
  Py_XDECREF(errors);
  Py_XDECREF(arguments);
}

void deallocate(PyObject* self) {
  BufferObject* buffer = reinterpret_cast<BufferObject*>(self);
  PyTypeObject* type = Py_TYPE(self);
  if (buffer->data != nullptr) release(buffer->data, static_cast<size_t>(buffer->nbytes));
  PyObject_Free(self);
  Py_DECREF(type);
}

int get_bytes(PyObject* self, Py_buffer* view, int flags) {
  BufferObject* buffer = reinterpret_cast<BufferObject*>(self);
  return PyBuffer_FillInfo(view, self, buffer->data, buffer->nbytes, 0, flags);
}

PyObject* pointer(PyObject* self, PyObject*) { return PyLong_FromVoidPtr(reinterpret_cast<BufferObject*>(self)->data); }

PyTypeObject* make_buffer_type() {
  static PyMemberDef members[] = {
      {"nbytes", T_PYSSIZET, offsetof(BufferObject, nbytes), READONLY, "Bytes asked for."},
      {nullptr, 0, 0, 0, nullptr},
  };
  static PyMethodDef methods[] = {
      {"ptr", pointer, METH_NOARGS, "The address of the first byte."},
      {nullptr, nullptr, 0, nullptr},
  };
  static PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("Memory of the CPU device, freed with its last reference.")},
      {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
      {Py_tp_members, members},
      {Py_tp_methods, methods},
      {Py_bf_getbuffer, reinterpret_cast<void*>(get_bytes)},
      {0, nullptr},
  };
  static PyType_Spec spec = {"needle_backend_cpu._ext.Buffer", sizeof(BufferObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  PyObject* type = PyType_FromSpec(&spec);
  if (type == nullptr) throw PythonError();
  return reinterpret_cast<PyTypeObject*>(type);
}

}  // namespace

PyTypeObject* buffer_type() {
  static PyTypeObject* const type = make_buffer_type();
  return type;
}

PyObject* new_buffer(Py_ssize_t nbytes) {
  if (nbytes < 0) throw std::invalid_argument("allocate: a negative number of bytes");
  void* data = allocate(static_cast<size_t>(nbytes));
  BufferObject* buffer = PyObject_New(BufferObject, buffer_type());
  if (buffer == nullptr) {
    release(data, static_cast<size_t>(nbytes));
    throw PythonError();
  }
  buffer->data = data;
  buffer->nbytes = nbytes;
  return reinterpret_cast<PyObject*>(buffer);
}

BufferObject* as_buffer(PyObject* object) {
  if (Py_TYPE(object) == buffer_type()) return reinterpret_cast<BufferObject*>(object);
  PyErr_SetString(PyExc_TypeError, "not a buffer of this device");
  throw PythonError();
}

void set_python_error() {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (const OutOfMemory& error) {
    raise_needle_error("OutOfMemoryError", Py_BuildValue("(KK)", static_cast<unsigned long long>(error.requested),
                                                         static_cast<unsigned long long>(error.free)));
  } catch (const IndexOutOfRange& error) {
    raise_needle_error("IndexRangeError", Py_BuildValue("(s)", error.what()));
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

Argument<View>::Argument(PyObject* object) : buffer_(read_view(object, value, false)) { weight = value.size; }
Argument<ShapedView>::Argument(PyObject* object) : buffer_(read_view(object, value, true)) { weight = value.size; }

Argument<std::vector<View>>::Argument(PyObject* object) : items_(PySequence_Fast(object, "a sequence of views")) {
  if (items_ == nullptr) throw PythonError();
  value.resize(static_cast<size_t>(PySequence_Fast_GET_SIZE(items_)));
  for (size_t i = 0; i < value.size(); ++i) {
    // The item's reference to the buffer keeps it alive.
    Py_DECREF(read_view(PySequence_Fast_GET_ITEM(items_, static_cast<Py_ssize_t>(i)), value[i], false));
    weight += value[i].size;
  }
}

Argument<Pair>::Argument(PyObject* object) {
  if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != 2) {
    PyErr_SetString(PyExc_TypeError, "a pair of integers is expected");
    throw PythonError();
  }
  value.y = Argument<int64_t>(PyTuple_GET_ITEM(object, 0)).value;
  value.x = Argument<int64_t>(PyTuple_GET_ITEM(object, 1)).value;
}

Argument<Scalar>::Argument(PyObject* object) {
  value.is_float = PyFloat_Check(object);
  value.real = Argument<double>(object).value;
  value.integer = value.is_float ? 0 : Argument<int64_t>(object).value;
}

Argument<Expression>::Argument(PyObject* object) : packed_(PyObject_GetAttrString(object, "packed")) {
  if (packed_ == nullptr) throw PythonError();
  value.packed = PyBytes_AsString(packed_);
  if (value.packed == nullptr) {
    Py_DECREF(packed_);
    throw PythonError();
  }
}

Argument<std::vector<Scalar>>::Argument(PyObject* object) {
  if (!PyTuple_Check(object)) {
    PyErr_SetString(PyExc_TypeError, "a tuple of numbers is expected");
    throw PythonError();
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
    value.push_back(Argument<Scalar>(PyTuple_GET_ITEM(object, i)).value);
  }
}

}  // namespace needle
