"""sam2's memory encoder with few operations: a GPU waits for the launch of each."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import conv2d, gelu, interpolate

from medsam_core.inference.fixed_attention import Linear, Norm
from medsam_core.inference.model import LoadedModel


class FixedMemoryEncoder:
    """From a slice and its mask to a memory. Call it within `torch.no_grad`, without autocast."""

    def __init__(self, model: LoadedModel) -> None:
        module: Any = model.module
        encoder = module.memory_encoder
        self.dtype = torch.bfloat16 if model.precision == "bf16" else torch.float32
        self.size: int = module.image_size
        self.side: int = module.sam_image_embedding_size
        self.scale: float = module.sigmoid_scale_for_mem_enc
        self._bias = torch.tensor(module.sigmoid_bias_for_mem_enc, device=model.device)
        *downsampling, last = encoder.mask_downsampler.encoder
        self._convolutions = [
            (self._weights(downsampling[i]), Norm.of(downsampling[i + 1], self.dtype))
            for i in range(0, len(downsampling), 3)
        ]
        slices, masks = encoder.pix_feat_proj, last
        self._slices = Linear(slices.weight[:, :, 0, 0].to(self.dtype), (slices.bias + masks.bias).to(self.dtype))
        self._masks = masks.weight[:, :, 0, 0].t().to(self.dtype)
        self._blocks = [self._block(block) for block in encoder.fuser.layers]
        out = encoder.out_proj
        self._out = (
            None
            if isinstance(out, torch.nn.Identity)
            else Linear(out.weight[:, :, 0, 0].to(self.dtype), out.bias.to(self.dtype))
        )
        absent = module.no_obj_embed_spatial
        self._absent: torch.Tensor | None = None if absent is None else absent.to(self.dtype)

    def _weights(self, layer: Any) -> dict[str, Any]:
        weight = layer.weight.to(self.dtype, memory_format=torch.channels_last)
        bias = layer.bias.to(self.dtype)
        return {"weight": weight, "bias": bias, "stride": layer.stride, "padding": layer.padding}

    def _block(self, block: Any) -> tuple[Any, ...]:
        depthwise = {**self._weights(block.dwconv), "groups": block.dwconv.groups}
        second, gamma = block.pwconv2, 1.0 if block.gamma is None else block.gamma
        scale = gamma if isinstance(gamma, float) else gamma[:, None]
        scaled = Linear((scale * second.weight).to(self.dtype), (gamma * second.bias).to(self.dtype))
        return depthwise, Norm.of(block.norm, self.dtype), Linear.of([block.pwconv1], self.dtype), scaled

    def __call__(self, features: torch.Tensor, logits: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
        """(n, h * w, memory_dim) bfloat16.

        features: (n, h * w, d_model) of the slice. logits: (n, 1, s, s) float32. score: (n,), above 0 if the object is
        there.
        """
        n = len(features)
        mask = interpolate(logits, size=(self.size, self.size), mode="bilinear", align_corners=False).sigmoid_()
        x = torch.add(self._bias, mask, alpha=self.scale).to(self.dtype)
        for convolution, norm in self._convolutions:
            x = gelu(norm(conv2d(x, **convolution).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        masks = x.permute(0, 2, 3, 1).flatten(0, 2)
        x = torch.addmm(self._slices(features.flatten(0, 1)), masks, self._masks)
        for depthwise, norm, first, second in self._blocks:
            grid = x.view(n, self.side, self.side, -1).permute(0, 3, 1, 2)
            mixed = norm(conv2d(grid, **depthwise).permute(0, 2, 3, 1)).flatten(0, 2)
            x = x + second(gelu(first(mixed)))
        x = (x if self._out is None else self._out(x)).view(n, self.side**2, -1)
        if self._absent is not None:
            x = torch.addcmul(x, (score <= 0).to(self.dtype)[:, None, None], self._absent)
        return x.to(torch.bfloat16)
