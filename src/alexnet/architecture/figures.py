"""A network's figures as data: every layer's, and the totals that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from alexnet.architecture.arithmetic import LayerSummary
from alexnet.architecture.layers import Dense
from alexnet.architecture.network import Network


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Every figure of a network, or of its layers up to the one that does not fit."""

    network: Network
    layers: tuple[LayerSummary, ...]  # one a layer, in order; fewer than the network's where it breaks

    @property
    def weights(self) -> int:
        """Weights of all layers, biases not counted: what the notes call parameters."""
        return sum(layer.weights for layer in self.layers)

    @property
    def biases(self) -> int:
        """Biases of all layers."""
        return sum(layer.biases for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights and biases of all layers."""
        return self.weights + self.biases

    @property
    def macs(self) -> int:
        """Multiply-adds for one picture."""
        return sum(layer.macs for layer in self.layers)

    @property
    def neurons(self) -> int:
        """Outputs of the layers that carry weights; the input not counted."""
        return sum(layer.neurons for layer in self.layers)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of weights and biases in float32."""
        return sum(layer.parameter_bytes for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Bytes of every layer's output in float32, for one picture."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def weighted_layers(self) -> int:
        """How many layers carry weights: the "8" of AlexNet."""
        return sum(layer.weights > 0 for layer in self.layers)

    @property
    def dense_weights(self) -> int:
        """Weights of the fully connected layers."""
        return sum(layer.weights for layer in self.layers if layer.kind == Dense.kind)

    @property
    def dense_share(self) -> float:
        """Share of the fully connected layers in all weights, 0 to 1."""
        return self.dense_weights / self.weights if self.weights else 0.0
