"""Train a small sparse autoencoder on activations that `polysem export --format activations` wrote.

polysem export checkpoints/cpu-1l --format activations --hook blocks.0.mlp.hook_post --out activations/L0
python examples/train_autoencoder.py activations/L0
"""

import sys

import torch
from datasets import load_from_disk

directory, expansion, l1 = sys.argv[1], 4, 0.03
table = load_from_disk(directory)
(hook,) = (name for name in table.column_names if name not in ("token_ids", "row", "position"))
acts = torch.cat([torch.as_tensor(b[hook]).flatten(0, 1) for b in table.with_format("torch").iter(64)])
acts = (acts - acts.mean(0)) / (acts - acts.mean(0)).norm(dim=1).mean()
d = acts.shape[1]
torch.manual_seed(0)
W_enc = torch.randn(d, expansion * d).div(d**0.5).requires_grad_()
W_dec = W_enc.detach().T.clone().requires_grad_()
b_enc, b_dec = torch.zeros(expansion * d, requires_grad=True), torch.zeros(d, requires_grad=True)
optimizer = torch.optim.Adam([W_enc, b_enc, W_dec, b_dec], lr=1e-3)
for epoch in range(3):
    for batch in acts.split(256):  # shuffled already
        features = torch.relu((batch - b_dec) @ W_enc + b_enc)
        error = (features @ W_dec + b_dec - batch).square().sum(1).mean()
        loss = error + l1 * (features * W_dec.norm(dim=1)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        features = torch.relu((acts[:8192] - b_dec) @ W_enc + b_enc)
        left = (features @ W_dec + b_dec - acts[:8192]).square().sum() / acts[:8192].square().sum()
        active = (features > 0).sum(1).float().mean()
    print(f"epoch {epoch}: unexplained variance {left:.3f}, active features a token {active:.1f}")
