"""The process in which programs are compiled: it holds no accelerator of this machine."""

import os

# A TPU's library asks the cloud about its host, locks the machine and writes logs to /tmp; a
# compiler needs none of that. The host's name and number silence its search for them.
_TPU_LIBRARY = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_LOG_DIR": "disabled",
    "TPU_MIN_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def hide_accelerators() -> None:
    """Keeps JAX, which must not be imported yet, on the CPU of this machine."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    for name, value in _TPU_LIBRARY.items():
        os.environ.setdefault(name, value)
