"""From `nn` ops to kernels of loops: what is fused, and into which form.

`form-kernels` decides what is one launch, `decompose-kernels` says each op in loops
(`fusion.generic`), `fuse-generics` brings a kernel into one of the forms that
`lowering/tiling` converts (docs/00-architecture.md, level 3).
"""
