"""The published figures of the chips that programs are compiled for.

Sources: Google Cloud's pages on each TPU version (docs.cloud.google.com/tpu/docs/v4, v5e, v5p and
v6e), NVIDIA's data sheets of the A100 and the H100 SXM, and of the DGX A100 and DGX H100 for their
networks. Of the TPUs' clocks only that of the v5e is published, 1.5 GHz. A clock here is the peak
divided by the operations of a cycle, two for each cell of the matrix units. On the v6e a cell does
four: the compiler's estimate of a product of two matrices of 4096 x 4096 in bfloat16, 301616
cycles, is more than its two units of 256 x 256 could do otherwise. The v4's network is that of the
v5p, as nothing else is published.
"""

import dataclasses

GB = 10**9
GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of chip; a device of the program is one chip.

    Attributes:
        name: as in a topology.
        platform: JAX's: tpu, cuda or cpu.
        memory_bytes: of the device; 0 where it is no fixed figure.
        peak_flops: operations a second in bfloat16.
        memory_rate: bytes a second between the chip and its memory.
        clock_hz: of the cycles that the compiler estimates; 0 where it estimates none.
        links: to other chips within a pod or a host.
        link_rate: bytes a second of one link, in one direction.
        latency: seconds from a chip to its neighbour.
        base_latency: seconds until a collective begins.
        island: chips that the links join: a TPU's pod, a GPU's host.
        network_rate: bytes a second of one chip to other islands, in one direction.
        network_latency: seconds from an island to another.
        dimensions: of the torus that a topology names.
        target: what XLA's compiler asks about a GPU that is not there.
    """

    name: str
    platform: str
    memory_bytes: int = 0
    peak_flops: float = 0.0
    memory_rate: float = 0.0
    clock_hz: float = 0.0
    links: int = 0
    link_rate: float = 0.0
    latency: float = 0.0
    base_latency: float = 0.0
    island: int = 1
    network_rate: float = 0.0
    network_latency: float = 0.0
    dimensions: int = 0
    target: str = ""


# Seconds. A TPU's hop is "about 1 microsecond" (jax-ml.github.io/scaling-book/sharding). Those of
# GPUs are the latencies of NCCL's cost model for small messages (NVIDIA/nccl, src/graph/tuning.cc,
# protocol LL: the ring's base and NVLink hop, the tree's hop over the network). The round between
# two TPU pods is an assumption: half of a data centre's usual 50 microseconds.
_TPU_HOP = 1e-6
_POD_HOP = 25e-6
_GPU_BASE = 6.6e-6
_NVLINK_HOP = 0.6e-6
_NETWORK_HOP = 5.0e-6


def _tpu(
    name: str,
    *,
    gib: int,
    peak: float,
    memory: float,
    operations: int,
    links: int,
    link: float,
    pod: int,
    network: float,
) -> Chip:
    """Returns a TPU whose matrix units do so many operations in a cycle."""
    return Chip(
        name=name,
        platform="tpu",
        memory_bytes=gib * GIB,
        peak_flops=peak,
        memory_rate=memory,
        clock_hz=peak / operations,
        links=links,
        link_rate=link,
        latency=_TPU_HOP,
        island=pod,
        network_rate=network,
        network_latency=_POD_HOP,
        dimensions=links // 2,
    )


def _gpu(
    name: str,
    *,
    peak: float,
    link: float,
    links: int,
    network: float,
    capability: int,
    cores: int,
    units: int,
    shared: int,
    cache: int,
    memory: int,
    rate: int,
    ghz: float,
    description: str,
) -> Chip:
    """Returns a GPU; the figures of `target` are those that its driver reports."""
    target = f"""gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared}
  shared_memory_per_block_optin: {shared - 1024}
  threads_per_core_limit: 2048
  core_count: {cores}
  fpus_per_core: {units}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {rate}
  l2_cache_size: {cache}
  clock_rate_ghz: {ghz}
  device_memory_size: {memory}
  cuda_compute_capability {{ major: {capability} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{description}"
"""
    return Chip(
        name=name,
        platform="cuda",
        memory_bytes=memory,
        peak_flops=peak,
        memory_rate=float(rate),
        links=links,
        link_rate=link,
        latency=_NVLINK_HOP,
        base_latency=_GPU_BASE,
        island=8,
        network_rate=network,
        network_latency=_NETWORK_HOP,
        target=target,
    )


CHIPS = {
    chip.name: chip
    for chip in (
        _tpu(
            "v4",
            gib=32,
            peak=275e12,
            memory=1200 * GB,
            operations=2 * 2 * 4 * 128 * 128,
            links=6,
            link=50 * GB,
            pod=4096,
            network=50e9 / 8,
        ),
        _tpu(
            "v5e",
            gib=16,
            peak=197e12,
            memory=819 * GB,
            operations=2 * 4 * 128 * 128,
            links=4,
            link=50 * GB,
            pod=256,
            network=6.4e12 / 256 / 8,
        ),
        _tpu(
            "v5p",
            gib=95,
            peak=459e12,
            memory=2765 * GB,
            operations=2 * 2 * 4 * 128 * 128,
            links=6,
            link=100 * GB,
            pod=4096,  # 6144 is the largest slice; a power of two for whole cubes
            network=50e9 / 8,
        ),
        _tpu(
            "v6e",
            gib=32,
            peak=918e12,
            memory=1638 * GB,
            operations=2 * 2 * 2 * 256 * 256,
            links=4,
            link=100 * GB,
            pod=256,
            network=25.6e12 / 256 / 8,
        ),
        _gpu(
            "a100",
            peak=312e12,
            link=25 * GB,
            links=12,
            network=25 * GB,
            capability=8,
            cores=108,
            units=64,
            shared=167936,
            cache=41943040,
            memory=85100068864,
            rate=2039040000000,
            ghz=1.41,
            description="NVIDIA A100-SXM4-80GB",
        ),
        _gpu(
            "h100",
            peak=989e12,
            link=25 * GB,
            links=18,
            network=50 * GB,
            capability=9,
            cores=132,
            units=128,
            shared=233472,
            cache=52428800,
            memory=84942979072,
            rate=3352320000000,
            ghz=1.98,
            description="NVIDIA H100 80GB HBM3",
        ),
        Chip("cpu", "cpu"),
    )
}
