"""Families of torchvision, smaller than any of its named models."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

__all__ = ["VISION", "image", "sound"]

Inputs = dict[str, Any]
Build = Callable[[Any], tuple[Any, Inputs]]


def image(size: int, channels: int = 3, batch: int = 3) -> Any:
    """Return a batch of random images."""
    torch = importlib.import_module("torch")
    return torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(0))


def sound(*shape: int) -> Any:
    """Return normal numbers."""
    torch = importlib.import_module("torch")
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def named(name: str, size: int, **sizes: Any) -> Build:
    """Return what builds a model by its name."""

    def build(library: Any) -> tuple[Any, Inputs]:
        return getattr(library, name)(weights=None, num_classes=7, **sizes), {"": image(size)}

    return build


def classes(path: str, size: int, *args: Any, **sizes: Any) -> Build:
    """Return what builds a class; what is to be made with its module is called with that."""

    def build(library: Any) -> tuple[Any, Inputs]:
        module, _, name = path.rpartition(".")
        owner = importlib.import_module(f"{library.__name__}.{module}")
        given = [a(owner) if callable(a) else a for a in args]
        options = {k: v(owner) if callable(v) else v for k, v in sizes.items()}
        return getattr(owner, name)(*given, **options), {"": image(size)}

    return build


def _narrow(build: Build, channels: int, side: int) -> Build:
    """Return what builds the same with narrow layers at its end: those of the paper have 10^8."""

    def narrow(library: Any) -> tuple[Any, Inputs]:
        nn = importlib.import_module("torch").nn
        module, inputs = build(library)
        widths = iter([(channels * side * side, 32), (32, 24), (24, 7)])
        for k, part in enumerate(module.classifier):
            if isinstance(part, nn.Linear):
                module.classifier[k] = nn.Linear(*next(widths))
        return module, inputs

    return narrow


def _clip(build: Callable[[Any], Any], *shape: int) -> Build:
    """Return what builds a model of video."""
    return lambda library: (build(importlib.import_module(f"{library.__name__}.video")),
                            {"": sound(*shape)})  # fmt: skip


def _s3d(video: Any) -> Any:
    module = video.S3D(num_classes=7)
    module.avgpool = importlib.import_module("torch").nn.AdaptiveAvgPool3d(1)
    return module


def _mvit(video: Any) -> Any:
    mvit = importlib.import_module(f"{video.__name__}.mvit")
    setting = [
        mvit.MSBlockConfig(1, 8, 16, [], [3, 3, 3], [], [1, 2, 2]),
        mvit.MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
    ]
    return mvit.MViT((64, 64), 8, setting, True, False, True, True, num_classes=7,
                     patch_embed_stride=(2, 4, 4))  # fmt: skip


def _small_resnet(library: Any) -> Any:
    resnet = importlib.import_module(f"{library.__name__}.resnet")
    return resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1])


def _segmentation(kind: str) -> Build:
    def build(library: Any) -> tuple[Any, Inputs]:
        utils = importlib.import_module(f"{library.__name__}._utils")
        own = importlib.import_module(f"{library.__name__}.segmentation.{kind.lower()}")
        backbone = utils.IntermediateLayerGetter(_small_resnet(library), {"layer3": "out"})
        head = own.FCNHead(256, 3) if kind == "FCN" else own.DeepLabHead(256, 3)
        return getattr(own, kind)(backbone, head), {"": image(32)}

    return build


def _detection(kind: str, **options: Any) -> Build:
    """Return what builds a detector over a pyramid of features."""

    def build(library: Any) -> tuple[Any, Inputs]:
        own = importlib.import_module(f"{library.__name__}.detection")
        utils = importlib.import_module(f"{library.__name__}.detection.backbone_utils")
        inner = {"layer2": "0", "layer3": "1", "layer4": "2"}
        backbone = utils.BackboneWithFPN(_small_resnet(library), inner, [128, 256, 512], 32)
        parts = importlib.import_module(f"{library.__name__}.detection.rpn")
        options["rpn_anchor_generator"] = parts.AnchorGenerator(
            ((8,), (16,), (32,), (64,)), ((0.5, 1.0, 2.0),) * 4
        )
        module = getattr(own, kind)(backbone, num_classes=3, min_size=96, max_size=96, **options)
        return module, {"images": [image(96, batch=1)[0]]}

    return build


def _ssd(library: Any) -> tuple[Any, Inputs]:
    own = importlib.import_module(f"{library.__name__}.detection")
    module = own.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    return module, {"images": [image(320, batch=1)[0]]}


def _raft(library: Any) -> tuple[Any, Inputs]:
    own = importlib.import_module(f"{library.__name__}.optical_flow")
    module = own.raft_small(weights=None)
    module.forward = functools.partial(module.forward, num_flow_updates=2)
    return module, {"image1": image(128, batch=1), "image2": image(128, batch=1).flip(-1)}


#: By name: what builds it, and what follows which of its layers.
VISION: dict[str, tuple[Build, dict[str, str]]] = {
    "AlexNet": (_narrow(named("alexnet", 64), 256, 6), {"classifier.[14]": "relu"}),
    "VGG": (_narrow(classes("vgg.VGG", 32, lambda m: m.make_layers(
            [8, "M", 16, "M", 16, 24, "M"], batch_norm=True), num_classes=7), 24, 7),
            {"features.*": "relu", "classifier.[03]": "relu"}),
    "ResNet": (named("resnet18", 32), {}),
    "ResNet (bottleneck)": (classes("resnet.ResNet", 32, lambda m: m.Bottleneck, [1, 1, 1, 1],
            num_classes=7), {}),
    "ResNeXt": (classes("resnet.ResNet", 32, lambda m: m.Bottleneck, [1, 1, 1, 1], num_classes=7,
            groups=4, width_per_group=8), {}),
    "DenseNet": (classes("densenet.DenseNet", 32, growth_rate=8, block_config=(2, 2, 2),
            num_init_features=16, num_classes=7), {}),
    "SqueezeNet": (named("squeezenet1_1", 64), {}),
    "GoogLeNet": (named("googlenet", 64, aux_logits=False, init_weights=False), {}),
    "Inception": (named("inception_v3", 96, aux_logits=False, init_weights=False), {}),
    "ShuffleNet": (named("shufflenet_v2_x0_5", 64), {}),
    "MobileNetV2": (named("mobilenet_v2", 32, width_mult=0.25), {}),
    "MobileNetV3": (named("mobilenet_v3_small", 32, width_mult=0.5), {}),
    "MNASNet": (named("mnasnet0_5", 32), {}),
    "EfficientNet": (classes("efficientnet.EfficientNet", 32, lambda m: [
            m.MBConvConfig(1, 3, 1, 8, 8, 1), m.MBConvConfig(6, 3, 2, 8, 12, 2),
            m.MBConvConfig(6, 5, 2, 12, 16, 1)], 0.0, num_classes=7, last_channel=32), {}),
    "EfficientNetV2": (classes("efficientnet.EfficientNet", 32, lambda m: [
            m.FusedMBConvConfig(1, 3, 1, 8, 8, 1), m.FusedMBConvConfig(4, 3, 2, 8, 16, 2),
            m.MBConvConfig(4, 3, 2, 16, 24, 1)], 0.0, num_classes=7, last_channel=32), {}),
    "RegNet": (classes("regnet.RegNet", 32, lambda m: m.BlockParams.from_init_params(
            depth=4, w_0=8, w_a=8.0, w_m=2.0, group_width=4, se_ratio=0.25), num_classes=7,
            stem_width=8), {}),
    "ConvNeXt": (classes("convnext.ConvNeXt", 32, lambda m: [m.CNBlockConfig(8, 16, 1),
            m.CNBlockConfig(16, 24, 2), m.CNBlockConfig(24, None, 1)], num_classes=7),
            {"*.block.3": "gelu"}),
    "ViT": (classes("vision_transformer.VisionTransformer", 16, 16, 4, 2, 2, 16, 32,
            num_classes=7), {"*.mlp.0": "gelu"}),
    "Swin": (classes("swin_transformer.SwinTransformer", 32, [4, 4], 8, [2, 2], [2, 2], [4, 4],
            num_classes=7), {"*.mlp.0": "gelu"}),
    "Swin V2": (classes("swin_transformer.SwinTransformer", 32, [4, 4], 8, [2, 2], [2, 2], [4, 4],
            num_classes=7, block=lambda m: m.SwinTransformerBlockV2,
            downsample_layer=lambda m: m.PatchMergingV2),
            {"*.mlp.0": "gelu", "*.cpb_mlp.0": "relu", "*.cpb_mlp.2": "16 * sigmoid"}),
    "MaxViT": (classes("maxvit.MaxVit", 32, (32, 32), 8, 4, [8, 16], [1, 1], 4, 0.0,
            num_classes=7), {}),
    "FCN": (_segmentation("FCN"), {}),
    "DeepLabV3": (_segmentation("DeepLabV3"), {}),
    "LRASPP": (classes("segmentation.lraspp_mobilenet_v3_large", 64, weights=None,
            weights_backbone=None, num_classes=3), {}),
    "Faster R-CNN": (_detection("FasterRCNN", rpn_post_nms_top_n_test=20), {}),
    "SSDlite": (_ssd, {}),
    "R3D": (_clip(lambda m: m.resnet.VideoResNet(m.resnet.BasicBlock, [m.resnet.Conv3DSimple] * 4,
            [1, 1, 1, 1], m.resnet.BasicStem, num_classes=7), 1, 3, 4, 16, 16), {}),
    "R(2+1)D": (_clip(lambda m: m.resnet.VideoResNet(m.resnet.BasicBlock,
            [m.resnet.Conv2Plus1D] * 4, [1, 1, 1, 1], m.resnet.R2Plus1dStem, num_classes=7),
            1, 3, 4, 16, 16), {}),
    "S3D": (_clip(_s3d, 1, 3, 16, 64, 64), {}),
    "MViT": (_clip(_mvit, 2, 3, 8, 64, 64), {}),
    "Swin3D": (_clip(lambda m: m.swin_transformer.SwinTransformer3d([2, 4, 4], 8, [2, 2], [2, 2],
            [2, 4, 4], num_classes=7), 1, 3, 4, 32, 32), {"*.mlp.0": "gelu"}),
    "RAFT": (_raft, {}),
}  # fmt: skip
