import pytest
import torch


@pytest.fixture(autouse=True)
def _fresh_torch():
    """No graph of another test, and the same random numbers."""
    torch._dynamo.reset()
    torch.manual_seed(0)
