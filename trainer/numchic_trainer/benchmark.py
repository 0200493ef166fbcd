# SPDX-License-Identifier: BSD-3-Clause
"""Training speed: ``python -m numchic_trainer.benchmark [--size WxH] [PRESET ...]``.

Prints iterations per second of the main phase and where the time of one iteration goes. Times are
process CPU times, medians over iterations; the first ones, which compile, do not count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import get_args

import click
import numpy as np
import torch
from torch import Tensor

from numchic.picture import Picture
from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.training.plan import plan
from numchic_trainer.training.target import Target
from numchic_trainer.training.train import Training

_WARM_UP = 5


def _picture(height: int, width: int) -> Picture:
    """Something with edges, ramps and texture."""
    y, x = np.mgrid[:height, :width]
    texture = np.random.default_rng(0).normal(0, 8, (3, height, width))
    shapes = 60 * np.stack([np.sin(x / 9), np.sin(y / 7), np.sign(np.sin((x + y) / 23))])
    planes = np.clip(128 + shapes + texture, 0, 255).astype(np.uint8)
    return Picture((planes[0], planes[1], planes[2]), "rgb", 8)


def _median_ms(work: Callable[[], object], n: int) -> float:
    times = []
    for _ in range(_WARM_UP + n):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times[_WARM_UP:])


def _stages(model: CoolChicEncoder) -> dict[str, Callable[[], object]]:
    """Forward and backward of every stage alone."""
    model.train()
    flat = torch.cat([grid.detach().flatten() for grid in model.latent_grids])
    flat = (flat * model.param.encoder_gain).requires_grad_()
    grids = [grid.detach().requires_grad_() for grid in model.quantised_latents()]
    dense = model.dense(grids).detach().requires_grad_()

    def backward(output: Tensor) -> None:
        output.backward(torch.ones_like(output))  # type: ignore[no-untyped-call]

    return {
        "contexts, rate": lambda: backward(model.latent_rate(grids)),
        "upsampling": lambda: backward(model.dense(grids)),
        "synthesis": lambda: backward(model.render(dense)),
    }


def measure(preset: Preset, height: int, width: int, n: int = 30) -> dict[str, float]:
    """Milliseconds of a whole iteration and of its stages."""
    config = TrainConfig(preset=preset, iterations=100 * n)
    model = CoolChicEncoder(architecture(config, preset, (height, width)))
    target = Target.of_picture(_picture(height, width), config.lmbda)
    training = Training(model, target, seed=0)
    training.begin("zero", plan(config, preset, "zero")[-1:], [model.get_param()])
    times = {"iteration": _median_ms(training.advance, n)}
    for name, work in _stages(model).items():
        times[name] = _median_ms(work, n)
    return times


@click.command()
@click.argument("presets", nargs=-1, type=click.Choice(get_args(Preset)))
@click.option("--size", default="256x256", show_default=True, help="Width and height.")
def main(presets: tuple[Preset, ...], size: str) -> None:
    """Measure the speed of training on one thread."""
    torch.set_num_threads(1)
    width, _, height = size.partition("x")
    for preset in presets or get_args(Preset):
        times = measure(preset, int(height), int(width))
        whole = times["iteration"]
        click.echo(f"{preset}: {1000 / whole:.1f} iterations per second at {size}")
        for name, ms in times.items():
            click.echo(f"  {name:16s} {ms:7.2f} ms {100 * ms / whole:5.0f} %")


if __name__ == "__main__":
    main()
