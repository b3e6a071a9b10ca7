"""Programs that the tests run inside the sandbox; each does one thing that an untrusted build might try."""
