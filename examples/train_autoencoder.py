"""Train a small sparse autoencoder on activations that `polysem export --format activations` wrote.

polysem export checkpoints/cpu-1l --format activations --hook blocks.0.mlp.hook_post --out activations/L0
python examples/train_autoencoder.py activations/L0        # a second number: the weight of sparsity, default 0.03
"""

import sys

import torch
from datasets import load_from_disk

directory, expansion, l1 = sys.argv[1], 4, float(sys.argv[2]) if len(sys.argv) > 2 else 0.03
table = load_from_disk(directory)
(hook,) = (name for name in table.column_names if name not in ("token_ids", "row", "position"))
acts = torch.cat([torch.as_tensor(b[hook]).flatten(0, 1) for b in table.with_format("torch").iter(64)])
acts = (acts - acts.mean(0)) / (acts - acts.mean(0)).norm(dim=1).mean()
d = acts.shape[1]
held_out, acts = acts[: len(acts) // 10], acts[len(acts) // 10 :]  # shuffled already
torch.manual_seed(0)
W_enc = torch.randn(d, expansion * d).div(d**0.5).requires_grad_()
W_dec = W_enc.detach().T.clone().requires_grad_()
b_enc, b_dec = torch.zeros(expansion * d, requires_grad=True), torch.zeros(d, requires_grad=True)
optimizer = torch.optim.Adam([W_enc, b_enc, W_dec, b_dec], lr=1e-3)
for epoch in range(3):
    for batch in acts.split(256):
        features = torch.relu((batch - b_dec) @ W_enc + b_enc)
        error = (features @ W_dec + b_dec - batch).square().sum(1).mean()
        loss = error + l1 * (features * W_dec.norm(dim=1)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        features = torch.relu((held_out - b_dec) @ W_enc + b_enc)
        left = (features @ W_dec + b_dec - held_out).square().sum() / held_out.square().sum()
        active, silent = (features > 0).sum(1).float().mean(), (features <= 0).all(0).sum()
    print(
        f"epoch {epoch}: on {len(held_out):,} held-out tokens unexplained variance {left:.3f}, active features a token "
        f"{active:.1f} of {expansion * d:,}, features never active {silent:,}"
    )
