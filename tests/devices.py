"""Virtual devices: a machine with one processor looks to JAX like one with several devices."""


def virtual_devices(count: int) -> dict[str, str]:
    """The environment of a process that has `count` devices; it must be there before JAX looks for
    them.
    """
    return {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        # many virtual devices on few cores can deadlock unless XLA believes in more cores
        "NPROC": "16",
    }
