"""EI and phi of the layers of a network that reads MNIST's digits.

    python bench/mnist.py FOLDER

FOLDER holds MNIST's test images, t10k-images-idx3-ubyte(.gz) and t10k-labels-idx1-ubyte(.gz):
8,000 of them are learnt from, 2,000 are kept for the test.
"""

import sys
from pathlib import Path

import torch
from torch import nn

import eiplane
from eiplane.reproduce.data import read_idx


def digits(folder):
    """Return the images, 0 to 1, and their labels."""
    found = []
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (path,) = Path(folder).glob(f"{name}*")
        found.append(torch.tensor(read_idx(path)))
    return found[0].reshape(-1, 784) / 255.0, found[1].long()


def learn(model, images, labels, epochs=10, batch=64):
    """Train a model by Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for at in torch.randperm(len(images)).split(batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[at]), labels[at]).backward()
            optimizer.step()


if __name__ == "__main__":
    torch.manual_seed(0)
    images, labels = digits(sys.argv[1])
    model = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    learn(model, images[:8000], labels[:8000])
    right = (model(images[8000:]).argmax(dim=1) == labels[8000:]).double().mean()
    print(f"{right:.1%} of the test images right")
    print(eiplane.analyze(model, measures=("ei", "phi", "output_entropy")))
