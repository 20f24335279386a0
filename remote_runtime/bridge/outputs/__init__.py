"""Records what kernels publish while no client is there to receive it.

One subscription for each kernel gets all its messages. A message is *delivered* when a client's end has acknowledged
it; all others, while no client is attached that may still get them, are the kernel's recorded outputs.
"""
