"""jaxcap: image captioning with soft attention in JAX."""

import gc
import signal
import sys

__version__ = "0.2.0"

if sys.argv[:1] == ["-m"]:
    # Imports make a million objects and hardly any garbage. `errors.exit_with` collects again.
    gc.disable()
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # A command imports what it needs, for seconds: until `errors.exit_with`, Ctrl-C ends it without
    # a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
