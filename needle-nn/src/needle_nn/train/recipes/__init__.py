"""The recipes by name. To add one, write its functions and its row in a file here, and name it below."""

from needle_nn.train.recipe import Recipe
from needle_nn.train.recipes.cifar import CIFAR10
from needle_nn.train.recipes.digits import DIGITS, DIGITS_RESNET
from needle_nn.train.recipes.fashion import FASHION_MNIST, FASHION_MNIST_MLP
from needle_nn.train.recipes.ptb import PTB
from needle_nn.train.recipes.text import TEXT

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (DIGITS, DIGITS_RESNET, FASHION_MNIST, FASHION_MNIST_MLP, CIFAR10, PTB, TEXT)
}
