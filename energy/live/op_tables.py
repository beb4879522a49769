# SPDX-License-Identifier: Apache-2.0
"""Names of PyTorch's operations in ``aten``, without a trailing underscore, by what they cost."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# values stay what they were, one by one
MOVES = _names(
    "view _unsafe_view reshape _reshape_alias view_as t transpose permute movedim swapaxes expand expand_as squeeze "
    "unsqueeze select slice split split_with_sizes chunk unbind narrow alias detach clone contiguous flatten "
    "unflatten cat stack index index_select gather take_along_dim flip roll rot90 repeat repeat_interleave tile "
    "unfold diagonal reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
    "replication_pad3d _pad_circular pixel_shuffle pixel_unshuffle channel_shuffle upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d _to_copy copy lift lift_fresh max_pool2d_with_indices "
    "max_pool3d_with_indices max_pool1d max_pool2d max_pool3d _unsafe_index constant_pad_nd"
)
# of these, what gives every value back once
KEEPS_ALL = _names(
    "view _unsafe_view reshape _reshape_alias t transpose permute squeeze unsqueeze detach alias clone"
)
# made or asked for, not computed
FREE = _names(
    "empty empty_like empty_strided zeros zeros_like ones ones_like full full_like new_empty new_empty_strided "
    "new_zeros new_ones new_full fill zero arange scalar_tensor eye as_strided resize set is_same_size "
    "_local_scalar_dense sym_size sym_stride sym_numel slice_scatter select_scatter index_put scatter "
    "masked_fill where item broadcast_tensors tril triu tril_indices triu_indices is_pinned pin_memory"
)
# compares, in the window of a pool; the values that come out went in
COMPARED = _names("max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices")
BATCH_NORM = _names(
    "batch_norm native_batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training _batch_norm_no_update _batch_norm_with_update"
)
ADDS = _names("add sub rsub cumsum")
SUMS = _names("sum mean")
POOLS = _names("avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d")
CONVOLUTIONS = _names("convolution _convolution convolution_overrideable cudnn_convolution mkldnn_convolution")
PRODUCTS = _names("mm bmm addmm baddbmm mv addmv dot vdot _addmm_activation")
ATTENTION = _names(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable"
)
