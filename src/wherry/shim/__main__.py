"""Start of the zygote: `python -I -S <this file> FD SCRATCH`, FD being its end of the socket pair with wherryd."""

import os
import sys

if __name__ == "__main__":
    # -I and -S leave only the standard library on sys.path; the package this file lies in is added for its own
    # modules and taken away again: nothing is imported after the first fork.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from wherry.shim import zygote

    del sys.path[0]
    zygote.main(int(sys.argv[1]), sys.argv[2])
