"""The code that is added to a translated source: how the executor, or CUDA, calls its kernels."""

ENTRY = 'extern "C" __attribute__((nvptx_kernel)) void entry{n}({buffers}__msl::dims d)'


def host_tables(u):
    """What the executor reads: kernels with their arguments, and function constants."""
    o = ['\n#line 1 "msl_tables"\nnamespace __msl_gen { using namespace metal;\n']
    for n, (host, kernel, instance) in enumerate(u.insts):
        args = u.kernels.get(kernel)
        if args is None:
            u.errors.append(f"{u.path}: error: {host}: no kernel {kernel}")
            continue
        function = f"fn{n}"
        values, rows = [], []
        for i, (kind, index, flags, name) in enumerate(args):
            ty = f"{function}::arg<{i}>"
            place = f"c->{'buf' if kind == 0 else 'tg'}[{index}]"
            values.append(f"__msl::bind<{ty}>::buf({place})" if kind < 2 else f"__msl::builtin<{ty}>(c->b[{index}])")
            size = f"__msl::tsize<{ty}>::v" if kind < 2 else 0
            rows.append(f'{{{kind},{index},{size},{flags},"{name}"}}, ')
        o.append(f"typedef __msl::fn<decltype({instance})> {function};\n")
        o.append(f"static void run{n}(const __msl::ctx* c) {{ {instance}({', '.join(values)}); }}\n")
        o.append(f"static const __msl::argi args{n}[] = {{{''.join(rows)}{{-1,0,0,0,0}}}};\n")
    o.append('}\nextern "C" { extern const __msl::kern __msl_kernels[]; extern const __msl::fconst __msl_fconsts[];\n')
    o.append("const __msl::kern __msl_kernels[] = {")
    for n, (host, kernel, _) in enumerate(u.insts):
        if kernel in u.kernels:
            needed = sum(1 << i for i, (name, _) in enumerate(u.fconsts) if name in u.uses[kernel])
            o.append(f"{{{host}, __msl_gen::run{n}, __msl_gen::args{n}, {len(u.kernels[kernel])}, {needed}ul}}, ")
    o.append("{0,0,0,0,0}};\nconst __msl::fconst __msl_fconsts[] = {")
    o.extend(f'{{"{name}", {index}, sizeof({name}), (void*)&{name}, 0}}, ' for name, index in u.fconsts)
    o.append("{0,0,0,0,0}}; }\n")
    return "".join(o)


def ptx_tables(u):
    """Entries for CUDA: the buffers in the order of their indices, then the grid in threads."""
    o = ['\n#line 1 "ptx_entries"\nnamespace __msl_gen { using namespace metal;\n']
    for n, (host, kernel, instance) in enumerate(u.insts):
        args, function = u.kernels[kernel], f"fn{n}"
        buffers = "".join(f"void* b{index}, " for index in sorted(index for kind, index, *_ in args if kind == 0))
        values = []
        for i, (kind, index, *_) in enumerate(args):
            ty = f"{function}::arg<{i}>"
            from_buffer = f"__msl::bind<{ty}>::buf(b{index})"
            values.append((from_buffer, f"({ty})__msl_dyn", f"h.get<{ty}>({index}, d)")[min(kind, 2)])
        entry = ENTRY.format(n=n, buffers=buffers)
        o.append(f"typedef __msl::fn<decltype({instance})> {function};\n{entry} asm({host});\n")
        o.append(f"{entry} {{ __msl::here h; if (h.out(d)) return; {instance}({', '.join(values)}); }}\n")
    return "".join(o) + "}\n"
