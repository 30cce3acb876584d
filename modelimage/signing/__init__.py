"""Who vouches for an image: signatures and attestations, made and judged.

Each is a Sigstore bundle that is attached to the image by its digest, in the form that cosign v3 writes and verifies.
Nothing here travels to where images are packed (`modelimage.bundle`), and its libraries are loaded by these modules
alone.
"""
