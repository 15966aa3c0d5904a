"""What every test runs with."""

import os

# One thread for each worker, and for the processes that tests start: more only get in each other's way.
# Set before torch is imported. Nothing of train or analyze is imported here at the top: pytest loads this file
# before jaxtyping's import hook, and what is imported earlier goes unchecked.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
