"""The README's example as a script: a small network learns to tell ten random patterns apart."""

import pycnn as torch
import pycnn.nn.functional as F
from pycnn import nn


def main() -> None:
    torch.manual_seed(0)
    patterns = torch.randn(10, 1, 28, 28)
    y = torch.arange(10).repeat(8)
    x = patterns[y] + 0.3 * torch.randn(80, 1, 28, 28)

    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 13 * 13, 10))
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for step in range(20):
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        print(f"step {step + 1}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
