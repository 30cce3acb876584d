"""One image's model, handed to a server in its own pod straight from the registry, by the stream sidecar.

Servers load weights from S3 in ranges (Run:ai's streamer). Our layers are uncompressed tars, so a range of a file is a
range of its layer's blob: this small server answers the one with the other, on loopback, and nothing is written to a
disk. It serves one image by its digest, and passes no byte on that is not what the digest says.

It runs in the model server's own image, so beyond the standard library it takes httpx and pydantic, which is in each
of those, and tenacity, which comes with it (`modelimage.bundle.stream_archive`).
"""
