"""A convolution with BatchNorm and an activation, padded as the released Caffe nets are."""

from flax import linen as nn

from ssd_jax.models.batch_norm import BatchNorm, Bias
from ssd_jax.models.convolution import Conv
from ssd_jax.models.depthwise import DepthwiseConv, FeatureMap, Padding
from ssd_jax.models.style import Style


class ConvLayer(nn.Module):
    """A convolution, an optional BatchNorm, and an activation.

    Attributes:
        channels: of the output; a depthwise convolution keeps the input's.
        kernel, stride, dilation: in pixels, the same for rows and columns.
        padding: pixels on every side; by default what keeps the size at stride 1. Ignored where the
            style is "SAME".
        depthwise: one kernel per channel.
        activation: off for the linear end of a block.
        style: see `Style`.
    """

    channels: int = 0
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    dilation: int = 1
    depthwise: bool = False
    activation: bool = True
    style: Style = Style()

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the layer's output; `train` selects the batch's own statistics."""
        style = self.style
        padding = self._padding(x.shape[1:3])
        if self.depthwise:
            x = DepthwiseConv(self.kernel, self.stride, padding, style.dtype, name="conv")(x)
        else:
            x = Conv(
                self.channels,
                self.kernel,
                padding,
                self.stride,
                self.dilation,
                use_bias=not style.batch_norm,
                initial_deviation=style.initial_deviation,
                dtype=style.dtype,
                name="conv",
            )(x)
        if style.batch_norm and style.folded:
            x = Bias(style.dtype, name="bn")(x)
        elif style.batch_norm:
            norm = BatchNorm(
                style.momentum, style.epsilon, style.dtype, style.batch_norm_group, name="bn"
            )
            x = norm(x, use_running_average=style.freeze_batch_norm or not train)
        if not self.activation:
            return x
        return nn.relu6(x) if style.relu6 else nn.relu(x)

    def _padding(self, size: tuple[int, int]) -> Padding:
        extent = (self.kernel - 1) * self.dilation + 1
        if not self.style.same_padding:
            pad = extent // 2 if self.padding is None else self.padding
            return (pad, pad), (pad, pad)
        # TensorFlow: ceil(size / stride) outputs; what is missing is added, the odd pixel after.
        missing = [max(0, (-(-n // self.stride) - 1) * self.stride + extent - n) for n in size]
        rows, columns = missing
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
