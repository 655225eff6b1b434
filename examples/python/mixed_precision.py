"""Training with autocast: convolutions and products in bfloat16; weights, their gradients and the loss in float32."""

import pycnn as torch
import pycnn.nn.functional as F
from pycnn import nn


def main() -> None:
    torch.manual_seed(0)
    patterns = torch.randn(10, 3, 16, 16)
    y = torch.arange(10).repeat(8)
    x = patterns[y] + 0.3 * torch.randn(80, 3, 16, 16)

    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 8 * 8, 10),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for step in range(20):
        # Only the forward pass: backward() runs each operator's gradient in the operator's own dtype.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = net(x)
            loss = F.cross_entropy(scores, y)
        assert scores.dtype == torch.bfloat16
        assert loss.dtype == torch.float32
        loss.backward()
        opt.step()
        opt.zero_grad()
        print(f"step {step + 1}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
