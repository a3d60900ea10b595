"""Less compilation, for code that runs once: by XLA's flags, and in one function instead of many."""

import importlib.metadata
import os

# No compiler of fusions, which is slow for small ones, and a program in one piece.
BOTH = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
FLAGS = {
    "jax": BOTH,  # which has an option of its own for the others
    "tensorflow": ("--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true", *BOTH),
}
# The oldest versions that were seen to know these flags: one that does not ends the process.
SINCE = {"jaxlib": (0, 10), "tensorflow": (2, 21), "tensorflow-cpu": (2, 21)}


def fast(function):
    """A function of tensors as its backend computes it soonest: JAX would compile each operation by itself."""
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        return jax.jit(function)
    return function


def compile_quickly(backend):
    """Add the flags to XLA_FLAGS, before those that the user has set, if the installed version knows them. Call it
    before a backend is imported."""
    if _known(backend):
        os.environ["XLA_FLAGS"] = " ".join([*FLAGS[backend], os.environ.get("XLA_FLAGS", "")]).strip()


def _known(backend):
    packages = {"jax": ("jaxlib",), "tensorflow": ("tensorflow", "tensorflow-cpu")}.get(backend, ())
    for package in packages:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        return tuple(map(int, version.split(".")[:2])) >= SINCE[package]
    return False
