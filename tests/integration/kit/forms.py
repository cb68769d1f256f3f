"""Bodies of multipart/form-data, with the file wherever a test wants it."""

BOUNDARY = "a-boundary-of-tests"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def field(name, value):
    return (f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n"
            f"{value}\r\n").encode()


def file(name, content, filename="sound.wav", kind="audio/wav"):
    head = (f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; "
            f"filename=\"{filename}\"\r\nContent-Type: {kind}\r\n\r\n")
    return head.encode() + content + b"\r\n"


def form(*parts):
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def wav(seconds, rate=8000):
    """Silence of 8 bits."""
    size = seconds * rate
    number = lambda n: n.to_bytes(4, "little")
    return (b"RIFF" + number(36 + size) + b"WAVEfmt " + number(16)
            + (1).to_bytes(2, "little") + (1).to_bytes(2, "little") + number(rate)
            + number(rate) + (1).to_bytes(2, "little") + (8).to_bytes(2, "little")
            + b"data" + number(size) + bytes(size))
