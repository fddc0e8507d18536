"""jaxcap: image captioning with soft attention in JAX."""

import gc
import signal
import sys

__version__ = "0.2.0"

if sys.argv[:1] == ["-m"]:  # a command, which imports what it needs, for seconds
    # Imports make a million objects and hardly any garbage. `errors.exit_with` collects again.
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until `errors.exit_with`, Ctrl-C ends it without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
