"""Every sentence of the page in English and Chinese; both stand in the page, and a switch shows one of them."""

from __future__ import annotations

from fenlei.corpus import ledger
from fenlei.report.markup import Html, escaped

# key -> (English, Chinese); markup is allowed, {names} are filled in; KEY_one is for n = 1.
WORDS: dict[str, tuple[str, str]] = {
    # head and foot
    "kicker": ("fenlei · training report", "fenlei 分类 · 训练报告"),
    "unnamed": ("A text classifier", "文本分类器"),
    "built_both": ("Network <b>{network}</b> beside a linear model", "<b>{network}</b> 网络与线性模型共同作答"),
    "built_network": ("Network <b>{network}</b>", "<b>{network}</b> 网络"),
    "built_linear": ("The linear model alone", "线性模型单独作答"),
    "footer": (
        "Drawn by <code>fenlei report</code>. This page is one file: it asks for nothing outside itself.",
        "由 <code>fenlei report</code> 生成。本页是单个文件，不访问任何外部资源。",
    ),
    # titles of the sections
    "title_findings": ("In short", "概要"),
    "title_data": ("What went in", "训练数据"),
    "title_learning": ("Learning", "学习过程"),
    "title_scores": ("Scores", "得分"),
    "title_classes": ("Class by class", "各类别得分"),
    "title_confusion": ("What is taken for what", "混淆矩阵"),
    "title_thresholds": ("Precision and recall", "精确率与召回率"),
    "title_sureness": ("How sure it may be", "概率是否可信"),
    "title_mistakes": ("The surest mistakes", "最有把握的错误"),
    "title_suspects": ("Labels that look wrong", "可能标错的标签"),
    "title_making": ("Size and speed", "大小与速度"),
    "title_recipe": ("Recipe", "训练设置"),
    "title_origin": ("Versions", "版本"),
    # in short
    "tile_classes": ("classes", "类别"),
    "tile_labels": ("labels", "标签"),
    "tile_train": ("training texts", "训练文本"),
    "tile_size": ("on disk", "磁盘占用"),
    "tile_parameters": ("{count} parameters", "{count} 个参数"),
    "short_accuracy": (
        "Of {n} held-out texts, which it never learned from, it labels <b>{share}</b> correctly.",
        "{n} 条验证文本（训练时没有用来学习）中，<b>{share}</b> 判断正确。",
    ),
    "short_several": (
        "On {n} held-out texts, which it never learned from, the micro-F1 over all labels is <b>{share}</b>.",
        "在 {n} 条验证文本（训练时没有用来学习）上，全部标签的微平均 F1 为 <b>{share}</b>。",
    ),
    "short_weakest": (
        "The hardest class is <b>{worst}</b> (F1 {low}), the easiest <b>{best}</b> ({high}).",
        "最难的类别是“<b>{worst}</b>”（F1 {low}），最容易的是“<b>{best}</b>”（{high}）。",
    ),
    "short_confused": (
        "Most often <b>{true}</b> is taken for <b>{predicted}</b>: {n} times.",
        "最常见的错误：把“<b>{true}</b>”当成“<b>{predicted}</b>”，{n} 次。",
    ),
    "short_confused_one": (
        "No confusion happens more than once; one is <b>{true}</b> taken for <b>{predicted}</b>.",
        "没有哪种错误超过一次，例如把“<b>{true}</b>”当成“<b>{predicted}</b>”。",
    ),
    "short_ece": (
        "Its probabilities are off by {ece} percentage points on average (ECE).",
        "给出的概率平均偏差 {ece} 个百分点（ECE）。",
    ),
    "short_suspects": (
        "{n} held-out texts may carry a wrong label: {link}.",
        "{n} 条验证文本的标签可能有误：{link}。",
    ),
    "short_suspects_one": (
        "One held-out text may carry a wrong label: {link}.",
        "有 1 条验证文本的标签可能有误：{link}。",
    ),
    # data
    "data_counts": (
        "{train} texts to learn from, {dev} held out to decide and to measure, {classes} labels.",
        "训练文本 {train} 条，留出的验证文本 {dev} 条（用于选择和评分），标签 {classes} 个。",
    ),
    "data_unlabelled": (
        "{n} texts without labels were learned from too.",
        "另有 {n} 条没有标签的文本参与了学习。",
    ),
    "data_unknown": (
        "{classes} labels; {dev} held-out texts. This bundle did not record the training texts' counts.",
        "标签 {classes} 个，验证文本 {dev} 条。这个模型包没有记录训练文本的数量。",
    ),
    "data_classes": ("Texts by label", "各标签的文本数"),
    "data_lengths": ("Lengths", "文本长度"),
    "length_title": ("Tokens a text, by share of the texts", "每条文本的词元数（占全部文本的比例）"),
    "length_limit": (
        "The network reads at most {limit} tokens of a text.",
        "网络对每条文本最多读 {limit} 个词元。",
    ),
    "ledger": ("Skipped, repaired, doubtful", "台账：跳过、修复与存疑"),
    "ledger_empty": (
        "Nothing was skipped or repaired, and no text stands twice.",
        "没有跳过或修复任何输入，也没有重复的文本。",
    ),
    "ledger_notes": ("Decisions on the way ({n})", "过程中的决定（{n}）"),
    # learning
    "learning_none": (
        "No network was trained: the linear model answers alone.",
        "没有训练网络，由线性模型单独作答。",
    ),
    "learning_lead": (
        "After each epoch the network is measured on the held-out texts. It keeps learning its training texts "
        "by heart long "
        "after it stops getting better at others; the best epoch is the one that is kept.",
        "每一轮之后都在验证文本上测量。网络会继续记住训练文本，而对其他文本早已不再进步；保留的是最好的那一轮。",
    ),
    "learning_said": (
        "{n} epochs in {seconds} s. The best was epoch {best}: {share} of the held-out texts right, by the "
        "network alone.",
        "共 {n} 轮，{seconds} 秒。最好的是第 {best} 轮：网络单独作答，验证准确率 {share}。",
    ),
    "learning_said_one": (
        "One epoch in {seconds} s: {share} of the held-out texts right, by the network alone.",
        "只有一轮，{seconds} 秒：网络单独作答，验证准确率 {share}。",
    ),
    "learning_said_f1": (
        "{n} epochs in {seconds} s. The best was epoch {best}: micro-F1 {share} on the held-out texts, by the network "
        "alone with one threshold for all labels.",
        "共 {n} 轮，{seconds} 秒。最好的是第 {best} 轮：网络单独作答（所有标签用同一阈值），验证微平均 F1 {share}。",
    ),
    "learning_said_f1_one": (
        "One epoch in {seconds} s: micro-F1 {share} on the held-out texts, by the network alone with one threshold for "
        "all labels.",
        "只有一轮，{seconds} 秒：网络单独作答（所有标签用同一阈值），验证微平均 F1 {share}。",
    ),
    "network": ("Network {place}", "网络 {place}"),
    "curve_loss": ("Loss", "损失"),
    "curve_accuracy": ("Accuracy", "准确率"),
    # scores
    "scores_none": ("This bundle has no scores.", "这个模型包没有得分记录。"),
    "scores_lead": (
        "Measured on the {n} held-out texts as the finished bundle answers them.",
        "用最终的模型包回答 {n} 条验证文本得到。",
    ),
    "scores_interval": (
        "Intervals hold with 95% confidence: they say how far chance in the choice of the held-out texts reaches.",
        "区间的置信度为 95%，反映验证文本的偶然性。",
    ),
    "scores_chose_epoch": (
        "The held-out texts also chose the best epoch, so new texts may be answered a little less well.",
        "最好的一轮也是用验证文本选出的，因此对新文本的得分可能略低。",
    ),
    "scores_chose_cost": (
        "The held-out texts also chose the linear model's settings, so new texts may be answered a little less well.",
        "线性模型的设置也是用验证文本选出的，因此对新文本的得分可能略低。",
    ),
    "accuracy": ("accuracy", "准确率"),
    "accuracy_several": ("all labels of a text right", "一条文本的标签全对"),
    "micro_f1": ("micro-F1", "微平均 F1"),
    "macro_f1": ("macro-F1", "宏平均 F1"),
    "linear_alone": ("linear model alone", "线性模型单独"),
    "verdict_alone": (
        "The linear model answers by itself here: there is no network to compare it with.",
        "这里由线性模型单独作答，没有网络可比。",
    ),
    "verdict_better": (
        "It is <b class=good>better</b> than the linear model alone: by {gain} points (95%: {low} to {high}).",
        "比线性模型单独作答<b class=good>更好</b>：高 {gain} 个百分点（95% 区间 {low} 至 {high}）。",
    ),
    "verdict_even": (
        "Against the linear model alone there is <b>no clear difference</b>: {gain} points (95%: {low} to {high}).",
        "与线性模型单独作答相比<b>没有明显差别</b>：{gain} 个百分点（95% 区间 {low} 至 {high}）。",
    ),
    "verdict_worse": (
        "It is <b class=bad>worse</b> than the linear model alone: by {gain} points (95%: {low} to {high}).",
        "比线性模型单独作答<b class=bad>更差</b>：{gain} 个百分点（95% 区间 {low} 至 {high}）。",
    ),
    "verdict_several": (" Counted are texts whose labels are all right.", "统计的是标签全对的文本。"),
    "verdict_plain": (
        "Against the linear model alone: {gain} points; how much of that is chance was not recorded.",
        "与线性模型单独作答相差 {gain} 个百分点；其中有多少出于偶然没有记录。",
    ),
    "classes_lead": (
        "Precision: how many of the texts given this label deserve it. Recall: how many that deserve it got "
        "it. F1 is their "
        "harmonic mean. A click on a head sorts.",
        "精确率：判为该标签的文本中有多少是对的。召回率：属于该标签的文本中有多少被找到。F1 是两者的调和平均。"
        "点击表头可排序。",
    ),
    "classes_weakest": (" The weakest come first.", "最弱的排在最前。"),
    # confusion
    "confusion_lead": (
        "A row is a true class, a column what was predicted; colour is the share of the row. Choose a number "
        "to read its texts.",
        "行是真实类别，列是预测类别，颜色深浅是占该行的比例。点击数字查看对应的文本。",
    ),
    "confusion_none": ("No held-out text was taken for another class.", "没有一条验证文本被判错。"),
    "confusion_choose": (
        "The texts of a number appear here; arrow keys move between numbers.",
        "选中的文本显示在这里；方向键可以在数字之间移动。",
    ),
    "cell_miss": (
        "{n} texts of “{true}”, taken for “{predicted}”",
        "“{true}”被当成“{predicted}”：{n} 条",
    ),
    "cell_miss_one": ("One text of “{true}”, taken for “{predicted}”", "“{true}”被当成“{predicted}”：1 条"),
    "cell_hit": ("{n} texts of “{true}”, recognised", "“{true}”判断正确：{n} 条"),
    "cell_hit_one": ("One text of “{true}”, recognised", "“{true}”判断正确：1 条"),
    "cell_kept": ("({kept} of them kept here)", "（此处保留 {kept} 条）"),
    "pairs_lead": (
        "With {n} classes a matrix would be too large to read: these are the {shown} most frequent confusions; a "
        "click opens the texts.",
        "共 {n} 个类别，矩阵太大，以下是最常见的 {shown} 种混淆，点击可展开文本。",
    ),
    "pair": ("<b>{true}</b> taken for <b>{predicted}</b>", "“<b>{true}</b>”被当成“<b>{predicted}</b>”"),
    "pair_count": ("{n} times, {share} of its class", "{n} 次，占该类 {share}"),
    "pair_count_one": ("once, {share} of its class", "1 次，占该类 {share}"),
    # sureness
    "reliability": ("Stated and actual", "给出的概率与实际正确率"),
    "coverage": ("Answering only when sure", "只在有把握时作答"),
    "ece_said": (
        "On the dashed line a probability is what it says; bars are 95% intervals, larger dots more answers. The "
        "mean distance "
        "(ECE) is {ece} points.",
        "落在虚线上，说明概率名副其实；竖线是 95% 区间，圆点越大回答越多。平均偏差（ECE）为 {ece} 个百分点。",
    ),
    "ece_before": (" Before calibration it was {before}.", "校准之前为 {before}。"),
    "coverage_said": (
        "To be right {wanted} of the time, answer only where the probability is at least <b>{threshold}</b>: "
        "that covers "
        "<b>{covered}</b> of the texts ({right} of them right).",
        "要有 {wanted} 的正确率，只在概率不低于 <b>{threshold}</b> 时作答：可回答 <b>{covered}</b> "
        "的文本（其中 {right} 正确）。",
    ),
    "coverage_all": (
        "More than {wanted} of the answers are right ({right}) even where every text is answered.",
        "即使全部作答，正确率也超过 {wanted}（{right}）。",
    ),
    "coverage_never": (
        "At no threshold are {wanted} of the answers right.",
        "没有哪个阈值能让 {wanted} 的回答正确。",
    ),
    "targets": ("Thresholds", "阈值"),
    "targets_use": (
        "<code>fenlei predict BUNDLE FILE --threshold {threshold}</code> leaves out what is less sure.",
        "<code>fenlei predict BUNDLE FILE --threshold {threshold}</code> 会略去把握更小的答案。",
    ),
    "numbers_reliability": ("The numbers of stated and actual", "可信度图的数据"),
    # several labels
    "thresholds_lead": (
        "Each label has a threshold of its own, ringed, where its F1 on the held-out texts is highest. To the "
        "right more of the "
        "label's texts are found, to the top more of the answers are right.",
        "每个标签有自己的阈值（图中圆圈处），在验证文本上的 F1 最高。越靠右找得越全，越靠上判得越准。",
    ),
    "thresholds_more": (
        " The {shown} most frequent of {n} labels are drawn.",
        "图中是 {n} 个标签里最常见的 {shown} 个。",
    ),
    "threshold_at": (
        "from {threshold}: precision {p}, recall {r}",
        "阈值 {threshold}：精确率 {p}，召回率 {r}",
    ),
    # texts
    "mistakes_none": ("There was no mistake on the held-out texts.", "验证文本上没有错误。"),
    "mistakes_lead": (
        "Held-out texts that were answered wrongly, and with the most conviction.",
        "答错而又最有把握的验证文本。",
    ),
    "legend": (
        "{warm} words spoke for the wrong answer, {cool} ones against it: each was left out in turn and the "
        "text asked again.",
        "{warm}的词支持这个错误答案，{cool}的词反对：逐个去掉每个词后重新提问得到。",
    ),
    "orange": ("Orange", "橙色"),
    "blue": ("blue", "蓝色"),
    "item_wrong": (
        "taken for <b class=bad>{predicted}</b> ({sure}) · labelled <b>{true}</b> ({less})",
        "判为 <b class=bad>{predicted}</b>（{sure}） · 标注为 <b>{true}</b>（{less}）",
    ),
    "item_right": ("<b>{true}</b> ({sure})", "<b>{true}</b>（{sure}）"),
    "item_sure": ("{sure} sure", "把握 {sure}"),
    "item_missed": (
        "given <b class=bad>no label</b> · labelled <b>{true}</b> ({less})",
        "<b class=bad>没有给出标签</b> · 标注为 <b>{true}</b>（{less}）",
    ),
    "no_label": ("no label", "没有标签"),
    "suspects_none": (
        "No held-out text is labelled so differently from what its words suggest.",
        "没有发现标签与内容明显不符的验证文本。",
    ),
    "suspects_lead": (
        "{n} held-out texts for which the classifier, which never learned from them, is sure of another label. "
        "Some are its own "
        "mistakes, some are the label's: worth reading, most suspicious first.",
        "{n} 条验证文本：分类器没有学过它们，却确信应是另一个标签。有些是分类器错了，有些是标签错了，值得一看；"
        "最可疑的在前。",
    ),
    "suspects_lead_one": (
        "One held-out text for which the classifier, which never learned from it, is sure of another label.",
        "1 条验证文本：分类器没有学过它，却确信应是另一个标签。",
    ),
    "suspects_more": ("{n} more", "另外 {n} 条"),
    "suspect_said": (
        "labelled <b class=bad>{true}</b> ({less}) · rather <b>{predicted}</b> ({sure})",
        "标注为 <b class=bad>{true}</b>（{less}） · 更像 <b>{predicted}</b>（{sure}）",
    ),
    # making
    "size_lead": (
        "The bundle takes <b>{size}</b> and has {parameters} parameters; its vocabulary holds {tokens} tokens.",
        "模型包占 <b>{size}</b>，有 {parameters} 个参数，词表有 {tokens} 个词元。",
    ),
    "size_files": ("File by file", "各个文件"),
    "speed_answers": (
        "It answered about <b>{speed} texts a second</b>, measured when this page was made, on that machine, "
        "on one thread, over "
        "{n} of the texts it carries (at most 300 characters each).",
        "每秒回答约 <b>{speed} 条文本</b>：生成本页时在该机器上用单线程实测，用的是随包保存的 {n} "
        "条文本（每条最多 300 字符）。",
    ),
    "speed_training": (
        "The network learned from about {speed} texts a second.",
        "网络训练时每秒约学习 {speed} 条文本。",
    ),
    "speed_whole": ("The whole training took {seconds} s.", "整个训练用时 {seconds} 秒。"),
    "recipe_none": ("No settings were recorded.", "没有记录训练设置。"),
    "recipe_lead": (
        "Settings that are not fenlei's defaults: chosen by hand, or decided from the data.",
        "与 fenlei 默认值不同的设置：人工指定，或由数据决定。",
    ),
    "recipe_default": ("Every setting is fenlei's default.", "所有设置都是 fenlei 的默认值。"),
    "recipe_all": ("All {n} settings", "全部 {n} 项设置"),
    "digest_lead": ("The bundle's identity (SHA-256):", "模型包的摘要（SHA-256）："),
    # heads of columns and marks of figures
    "class": ("label", "标签"),
    "train": ("training", "训练"),
    "dev": ("held out", "验证"),
    "limit": ("limit", "上限"),
    "best": ("best", "最好"),
    "tokens": ("tokens", "词元数"),
    "numbers": ("The numbers", "数据"),
    "count": ("count", "次数"),
    "what": ("what happened", "情况"),
    "where": ("where, for instance", "位置（举例）"),
    "epoch": ("epoch", "轮次"),
    "loss": ("loss, training", "训练损失"),
    "dev_loss": ("loss, held out", "验证损失"),
    "dev_accuracy": ("accuracy, held out", "验证准确率"),
    "dev_micro_f1": ("micro-F1, held out", "验证微平均 F1"),
    "seconds": ("seconds", "秒"),
    "score": ("score", "得分"),
    "value": ("value", "数值"),
    "interval": ("95% interval", "95% 区间"),
    "scale": ("", ""),
    "support": ("texts", "文本数"),
    "precision": ("precision", "精确率"),
    "recall": ("recall", "召回率"),
    "f1": ("F1", "F1"),
    "threshold": ("threshold", "阈值"),
    "true": ("true", "真实"),
    "predicted": ("predicted", "预测"),
    "answers": ("answers", "回答"),
    "wanted": ("wanted right", "目标正确率"),
    "answered": ("answered", "可作答"),
    "right": ("right", "正确"),
    "sure": ("sure", "给出的概率"),
    "file": ("file", "文件"),
    "size": ("bytes", "字节"),
    "axis_tokens": ("tokens", "词元数"),
    "axis_epoch": ("epoch", "轮次"),
    "axis_sure": ("stated probability", "给出的概率"),
    "axis_right": ("right", "正确率"),
    "axis_answered": ("texts answered", "作答的文本"),
    # kinds of the ledger
    "empty": ("without text, skipped", "没有文本，已跳过"),
    "undecodable": ("not in that encoding, skipped", "不是该编码，已跳过"),
    "no_label_entry": ("without a label, skipped", "没有标签，已跳过"),
    "several_labels": ("with several labels, skipped", "有多个标签，已跳过"),
    "unparsable": ("broken, skipped", "格式损坏，已跳过"),
    "missing_cells": ("with too few cells, skipped", "单元格不足，已跳过"),
    "too_large": ("too large, skipped", "太大，已跳过"),
    "not_text": ("no text, skipped", "不是文本，已跳过"),
    "ragged": ("with too many cells, joined", "单元格过多，已合并"),
    "repaired": ("repaired", "已修复"),
    "duplicate": ("copies of an earlier text", "与前面的文本重复"),
    "conflict": ("copies of an earlier text under another label", "与前面的文本重复而标签不同"),
    "leak": ("texts of dev or test that stand in train", "验证或测试文本也出现在训练集中"),
    "dropped": ("dropped as copies", "因重复而去掉"),
    "corrected": ("given another label by a correction", "按修正换了标签"),
    "left_out": ("left out by a correction", "按修正去掉"),
    "unmatched": ("corrections that fit no document", "找不到对应文本的修正"),
}

# Kind of an entry in the ledger -> key of its words.
MEANINGS = {kind: kind.replace(" ", "_") for kind in ledger.MEANING} | {ledger.NO_LABEL: "no_label_entry"}


def both(key: str, **values: object) -> Html:
    """The words of ``key`` in both languages, each for one reader; values become text."""
    if values.get("n") == 1 and f"{key}_one" in WORDS:
        key = f"{key}_one"
    shown = {name: escaped(value) for name, value in values.items()}
    english, chinese = (words.format(**shown) for words in WORDS[key])
    if english == chinese:
        return Html(english)
    return Html(f'<span class="en">{english}</span><span class="zh" lang="zh-Hans">{chinese}</span>')


def both_tspans(key: str) -> str:
    """The same within a drawing."""
    english, chinese = WORDS[key]
    return f'<tspan class="en">{english}</tspan><tspan class="zh">{chinese}</tspan>'
