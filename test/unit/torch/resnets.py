"""ResNet-50 in PyTorch and in Keras, by Keras's plan: strides in the first convolution
of a block, biases everywhere."""

import torch
from torch import nn

BLOCKS = (3, 4, 6, 3)
WIDTHS = (64, 128, 256, 512)
CLASSES = 1000
EPSILON = 1.001e-5


def conv(inputs, outputs, size, stride=1):
    """A convolution and its batch normalisation."""
    return (
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2),
        nn.BatchNorm2d(outputs, eps=EPSILON),
    )


class Bottleneck(nn.Module):
    """Three convolutions around a shortcut."""

    def __init__(self, inputs, width, stride, is_first):
        super().__init__()
        shortcut = conv(inputs, 4 * width, 1, stride) if is_first else (nn.Identity(),)
        self.shortcut = nn.Sequential(*shortcut)
        self.body = nn.Sequential(
            *conv(inputs, width, 1, stride),
            nn.ReLU(),
            *conv(width, width, 3),
            nn.ReLU(),
            *conv(width, 4 * width, 1),
        )

    def forward(self, x):
        return (self.shortcut(x) + self.body(x)).relu()


class TorchResNet(nn.Module):
    """NCHW images to class probabilities."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(*conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        blocks, channels = [], 64
        for stage, (count, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True)):
            for index in range(count):
                stride = 2 if stage and not index else 1
                blocks.append(Bottleneck(channels, width, stride, not index))
                channels = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, x):
        x = self.blocks(self.stem(x)).mean((2, 3))
        return self.head(x).softmax(-1)


def torch_resnet():
    """With statistics that a training would leave."""
    model = TorchResNet().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.uniform_(part.bias)
    return model


def keras_resnet(size):
    """`keras.applications.ResNet50` for NHWC images, its weights between 0.5 and 2."""
    import keras
    import numpy as np

    model = keras.applications.ResNet50(weights=None, input_shape=(size, size, 3))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 2, each.shape) for each in model.get_weights()])
    return model


def onnx_resnet(model, x):
    """torch's own export of a module."""
    exported = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
    return exported.model_proto
