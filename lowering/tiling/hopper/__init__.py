"""Matrix products on Hopper: TMA, rings, roles of warps and `wgmma`.

* `match`: finds a matrix product in the upper half and says why it does not fit.
* `program`: writes the program of the lower half.
"""
