"""One thread for arithmetic, in every test.

The matrices of the tests are small. Where cores are shared, the threads of torch and of the BLAS wait for each
other by spinning, and a fit of seconds takes minutes. A number given from outside wins.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded
