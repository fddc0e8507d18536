"""The doctor's checks: of a set-up, of what came of a run, and of the machine."""
