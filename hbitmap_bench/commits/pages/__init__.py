"""The pages that `publish` builds: ours in front, those of asv behind them."""
