"""fenlei (分类): labelled text in, a recurrent text classifier of your own out."""

__version__ = "0.1.0"
