"""Full-screen pages: what a word means, one VM, all events. The console goes on behind them."""
