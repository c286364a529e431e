"""Figures as in the papers; plotly is imported when the first one is drawn."""

from omnimouse_widgets.figures.behavior import decoding_figure as decoding_figure
from omnimouse_widgets.figures.neurons import direction_figure as direction_figure
from omnimouse_widgets.figures.neurons import (
    direction_map_figure as direction_map_figure,
)
from omnimouse_widgets.figures.neurons import exciting_figure as exciting_figure
from omnimouse_widgets.figures.neurons import score_histogram as score_histogram
from omnimouse_widgets.figures.neurons import score_scatter as score_scatter
from omnimouse_widgets.figures.ranking import pretrain_figure as pretrain_figure
from omnimouse_widgets.figures.ranking import ranking_figure as ranking_figure
from omnimouse_widgets.figures.scaling import finetune_figure as finetune_figure
from omnimouse_widgets.figures.scaling import scaling_figure as scaling_figure
from omnimouse_widgets.figures.sweep import context_grid_figure as context_grid_figure
from omnimouse_widgets.figures.sweep import context_sweep_figure as context_sweep_figure
from omnimouse_widgets.figures.tasks import TaskTable as TaskTable
from omnimouse_widgets.figures.tasks import task_table as task_table
