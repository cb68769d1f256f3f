"""Content codings undone by the system's own libraries, bound to 64 MiB."""

import ctypes
import gzip

LIMIT = 64 << 20


def _unbrotli(body):
    library = ctypes.CDLL("libbrotlidec.so.1")
    out, size = ctypes.create_string_buffer(LIMIT), ctypes.c_size_t(LIMIT)
    # 1 is BROTLI_DECODER_RESULT_SUCCESS
    assert library.BrotliDecoderDecompress(ctypes.c_size_t(len(body)), body,
                                           ctypes.byref(size), out) == 1
    return out.raw[:size.value]


def _unzstd(body):
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    class Buffer(ctypes.Structure):
        _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("at", ctypes.c_size_t)]
    out = ctypes.create_string_buffer(LIMIT)
    source = ctypes.create_string_buffer(body, len(body))
    into = Buffer(ctypes.cast(out, ctypes.c_void_p), LIMIT, 0)
    come = Buffer(ctypes.cast(source, ctypes.c_void_p), len(body), 0)
    stream = ctypes.c_void_p(library.ZSTD_createDStream())
    while come.at < come.size:
        assert not library.ZSTD_isError(ctypes.c_size_t(library.ZSTD_decompressStream(
            stream, ctypes.byref(into), ctypes.byref(come))))
    library.ZSTD_freeDStream(stream)
    return out.raw[:into.at]


DECODERS = {None: bytes, "gzip": gzip.decompress, "br": _unbrotli, "zstd": _unzstd}
