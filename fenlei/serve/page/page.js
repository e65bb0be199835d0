// The page of `fenlei serve`: a text goes in, its classes and the words that carried them come out.
// Nothing here is fetched from elsewhere, and what comes from outside is only ever put in as text.

const STRINGS = {
  "en": {
    "title": "fenlei 分类: text classification",
    "skip": "Skip to the text field",
    "nav": "Model and language",
    "model": "Model",
    "card": "Model card",
    "report": "Report",
    "token": "Token of this server",
    "token.send": "Continue",
    "token.hint": "Kept until this tab is closed.",
    "text": "Text",
    "text.placeholder": "Type or paste a text, or drop a file of lines here.",
    "characters.one": "{n} character",
    "characters": "{n} characters",
    "clear": "Clear",
    "choose": "File of lines",
    "classify": "Classify",
    "classify.keys": "Ctrl+Enter",
    "limits": "A file is .txt in UTF-8, a text a line, up to {lines} lines or {size}.",
    "coverage": "Answer",
    "coverage.all": "every text ({accuracy} right)",
    "coverage.share": "only the surest {share} ({accuracy} right)",
    "coverage.hint": "As measured on held-out texts; what is less sure is called unknown.",
    "examples": "Examples",
    "answer": "Classes",
    "answer.invite": "The classes of your text will stand here. This model tells apart:",
    "answer.others": "and {n} more",
    "answer.unknown": "Unknown",
    "answer.unsure": "The likeliest class, {label}, has only {share}.",
    "answer.none": "No class",
    "answer.below": "No class reaches its threshold.",
    "answer.several": "A text may have several classes; ✓ marks those that reach their threshold.",
    "answer.passes": "reaches its threshold",
    "bars.all": "Show all {n}",
    "bars.fewer": "Show fewer",
    "why.title": "What spoke for {label}",
    "why.for": "speaks for it",
    "why.against": "speaks against it",
    "why.weight.for": "{weight}: speaks for {label}",
    "why.weight.against": "{weight}: speaks against {label}",
    "why.unit": "A number is what the log odds of the class lose without the word.",
    "why.heaviest": "Heaviest words",
    "why.nothing": "No word alone changes this answer.",
    "why.refused": "The words of so long a text are not weighed by this server.",
    "why.long": "A long text: press “Classify” to see its words.",
    "results.title": "Texts of {name}",
    "results.sum": "{done} of {n} texts answered.",
    "results.empty": "Empty lines left out: {n}.",
    "results.gb18030": "The file is not UTF-8 and was read as GB18030.",
    "results.unknown": "Unknown: {n}.",
    "results.failed": "Not answered: {n}.",
    "results.stopped": "Stopped.",
    "results.progress": "Texts answered",
    "results.stop": "Stop",
    "results.close": "Close",
    "results.download": "Download csv",
    "results.filter": "Show",
    "results.filter.all": "all classes ({n})",
    "results.filter.one": "{label} ({n})",
    "results.further": "{n} more lines",
    "column.line": "Line",
    "column.text": "Text",
    "column.class": "Class",
    "column.probability": "Probability",
    "column.words": "Words",
    "row.words": "Why",
    "row.words.label": "Why: the words of line {n}",
    "row.failed": "not answered",
    "about": "This model",
    "about.name": "Name",
    "about.labels": "Classes",
    "about.accuracy": "Accuracy",
    "about.micro_f1": "Micro-F1",
    "about.macro_f1": "Macro-F1",
    "about.n": "Held-out texts",
    "about.parameters": "Parameters",
    "about.bytes": "Size",
    "about.digest": "Digest",
    "about.fenlei": "fenlei",
    "notice.close": "Close this message",
    "wait.busy": "The server is busy; asking again in {seconds} s.",
    "error.offline": "The server cannot be reached; see whether fenlei serve still runs, then try again.",
    "error.answer": "The server's answer could not be read; try again.",
    "error.busy": "The server is busy; try again in a while.",
    "error.token": "This server wants a token; enter it below.",
    "error.token.wrong": "The server did not accept this token; enter it again.",
    "error.refused": "The server did not accept the request: {detail}",
    "error.missing": "The server does not have this: {detail}",
    "error.slow": "The server took too long; try a shorter text.",
    "error.large": "The text is too long for this server; shorten it.",
    "error.server": "The server failed ({status}): {detail}",
    "error.file.many": "Only {name} was read; one file at a time.",
    "error.file.large": "{name} has {size}; this page takes up to {most}, fenlei predict takes any size.",
    "error.file.lines": "{name} has {n} lines; this page takes up to {most}, fenlei predict takes any number.",
    "error.file.binary": "{name} is not a text file; save it as .txt in UTF-8, a text a line.",
    "error.file.encoding": "{name} is neither UTF-8 nor GB18030; save it as UTF-8.",
    "error.file.empty": "{name} holds no text; put a text on every line.",
    "error.file.unreadable": "{name} could not be read; choose it again."
  },
  "zh": {
    "title": "fenlei 分类：文本分类",
    "skip": "跳到文本框",
    "nav": "模型与语言",
    "model": "模型",
    "card": "模型卡",
    "report": "报告",
    "token": "此服务器的令牌",
    "token.send": "继续",
    "token.hint": "只保留到关闭此标签页为止。",
    "text": "文本",
    "text.placeholder": "输入或粘贴一段文本，也可以把按行存放的文件拖到这里。",
    "characters.one": "{n} 个字符",
    "characters": "{n} 个字符",
    "clear": "清空",
    "choose": "按行文件",
    "classify": "分类",
    "classify.keys": "Ctrl+Enter",
    "limits": "文件须为 UTF-8 的 .txt，每行一段文本，最多 {lines} 行、{size}。",
    "coverage": "回答",
    "coverage.all": "所有文本（正确率 {accuracy}）",
    "coverage.share": "只答最有把握的 {share}（正确率 {accuracy}）",
    "coverage.hint": "正确率在留出文本上测得；把握不足的文本答“未知”。",
    "examples": "示例",
    "answer": "类别",
    "answer.invite": "这里会显示文本的类别。此模型区分：",
    "answer.others": "以及另外 {n} 类",
    "answer.unknown": "未知",
    "answer.unsure": "最可能的类别 {label} 只有 {share}。",
    "answer.none": "无类别",
    "answer.below": "没有类别达到其阈值。",
    "answer.several": "一段文本可以有多个类别；✓ 表示达到其阈值。",
    "answer.passes": "达到其阈值",
    "bars.all": "显示全部 {n} 类",
    "bars.fewer": "收起",
    "why.title": "为什么是 {label}",
    "why.for": "支持",
    "why.against": "反对",
    "why.weight.for": "{weight}：支持 {label}",
    "why.weight.against": "{weight}：反对 {label}",
    "why.unit": "数字是去掉这个词后该类别对数几率的减少量。",
    "why.heaviest": "影响最大的词",
    "why.nothing": "没有哪个词单独改变这个答案。",
    "why.refused": "文本太长，此服务器不计算各词的作用。",
    "why.long": "文本较长：按“分类”可看到各词的作用。",
    "results.title": "{name} 中的文本",
    "results.sum": "已回答 {done} / {n} 段文本。",
    "results.empty": "略去空行 {n} 行。",
    "results.gb18030": "文件不是 UTF-8，已按 GB18030 读取。",
    "results.unknown": "未知 {n} 段。",
    "results.failed": "未能回答 {n} 段。",
    "results.stopped": "已停止。",
    "results.progress": "已回答的文本",
    "results.stop": "停止",
    "results.close": "关闭",
    "results.download": "下载 csv",
    "results.filter": "显示",
    "results.filter.all": "所有类别（{n}）",
    "results.filter.one": "{label}（{n}）",
    "results.further": "再显示 {n} 行",
    "column.line": "行",
    "column.text": "文本",
    "column.class": "类别",
    "column.probability": "概率",
    "column.words": "词",
    "row.words": "原因",
    "row.words.label": "原因：第 {n} 行各词的作用",
    "row.failed": "未能回答",
    "about": "此模型",
    "about.name": "名称",
    "about.labels": "类别数",
    "about.accuracy": "正确率",
    "about.micro_f1": "微平均 F1",
    "about.macro_f1": "宏平均 F1",
    "about.n": "留出文本",
    "about.parameters": "参数",
    "about.bytes": "大小",
    "about.digest": "摘要值",
    "about.fenlei": "fenlei",
    "notice.close": "关闭此消息",
    "wait.busy": "服务器正忙，{seconds} 秒后重试。",
    "error.offline": "连不上服务器；请确认 fenlei serve 仍在运行，然后重试。",
    "error.answer": "无法读取服务器的回答；请重试。",
    "error.busy": "服务器正忙；请稍后再试。",
    "error.token": "此服务器需要令牌；请在下面输入。",
    "error.token.wrong": "服务器不接受这个令牌；请重新输入。",
    "error.refused": "服务器不接受这个请求：{detail}",
    "error.missing": "服务器上没有：{detail}",
    "error.slow": "服务器用时过长；请用较短的文本再试。",
    "error.large": "文本对此服务器来说太长；请缩短。",
    "error.server": "服务器出错（{status}）：{detail}",
    "error.file.many": "只读取了 {name}；一次只能处理一个文件。",
    "error.file.large": "{name} 有 {size}；本页最多 {most}，fenlei predict 不限大小。",
    "error.file.lines": "{name} 有 {n} 行；本页最多 {most} 行，fenlei predict 不限行数。",
    "error.file.binary": "{name} 不是文本文件；请存为 UTF-8 的 .txt，每行一段文本。",
    "error.file.encoding": "{name} 既不是 UTF-8 也不是 GB18030；请存为 UTF-8。",
    "error.file.empty": "{name} 中没有文本；请每行放一段文本。",
    "error.file.unreadable": "无法读取 {name}；请重新选择。"
  }
};

const SOON = 350; // milliseconds after the last key
const LIVE_WORDS = 2000; // characters: of longer texts words are weighed only when asked for
const SHOWN = 10; // classes, until all are asked for
const MOST_CLASSES = 1000;
const NAMED = 12; // classes in the invitation
const HEAVIEST = 8;
const EXAMPLES = 5;
const SHADES = 5;
const FAINTEST = 0.05; // of the strongest weight: less is not coloured
const SHARES = [0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5];
const FILE_LINES = 5000;
const FILE_BYTES = 4_000_000;
const BATCH_TEXTS = 64;
const BATCH_CHARACTERS = 40_000;
const PLACES = 3; // classes of a text in the csv
const ROWS = 200; // drawn at a time
const PATIENCE = 4; // times a busy server is asked again
const LONGEST_WAIT = 30; // seconds
const TRIED = 4000; // milliseconds: an answer that a server gave up after so long was too much work
const FORMULA = ["=", "+", "-", "@", "\t", "\r", "\u0000", "＝", "＋", "－", "＠"]; // a spreadsheet would run such a cell
// Control characters, direction overrides, line separators and lone surrogates: shown as codes, never obeyed.
const STEERING = /(?![\t\n])[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]/gu;

const state = {
  language: "en",
  info: null,
  answer: null, // {labels, probabilities, unknown, passing}
  explanation: null, // {label, probability, pieces}
  late: null, // why words were not weighed, as a key of a string
  all: false, // every class is shown
  notice: null, // {key, values}
  file: null, // {name, gb18030, empty, rows, done, stopped, shown}
};
const asking = { text: new AbortController(), file: new AbortController(), info: new AbortController() };
let timer = 0;

const $ = (id) => document.getElementById(id);

// ---- words and numbers -------------------------------------------------------------------------------------------

function template(key, values) {
  const strings = STRINGS[state.language];
  return (values.n === 1 && strings[`${key}.one`]) || strings[key];
}

function shown(value) {
  return typeof value === "number" ? new Intl.NumberFormat(tongue()).format(value) : legible(value);
}

/** A string of the page for an attribute or a title. */
function say(key, values = {}) {
  return template(key, values).replace(/\{(\w+)\}/g, (_, name) => shown(values[name] ?? ""));
}

/** A string of the page as the content of an element; what is filled in stands apart, whichever way it is written. */
function put(element, key, values = {}) {
  const parts = template(key, values).split(/\{(\w+)\}/);
  element.replaceChildren(...parts.map((part, place) => (place % 2 ? apart(shown(values[part] ?? "")) : part)));
}

function apart(text) {
  const element = document.createElement("bdi");
  element.textContent = text;
  return element;
}

function legible(text) {
  return text.replace(STEERING, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const tongue = () => (state.language === "zh" ? "zh-Hans" : "en");

function percent(share) {
  const digits = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return new Intl.NumberFormat(tongue(), digits).format(share);
}

function whole(share) {
  return new Intl.NumberFormat(tongue(), { style: "percent" }).format(share);
}

function signed(weight) {
  const digits = { signDisplay: "always", minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return new Intl.NumberFormat(tongue(), digits).format(weight).replace("-", "−");
}

function size(bytes) {
  const [unit, divisor] = bytes < 1e6 ? ["kilobyte", 1e3] : ["megabyte", 1e6];
  return new Intl.NumberFormat(tongue(), { style: "unit", unit, maximumFractionDigits: 1 }).format(bytes / divisor);
}

// ---- what the browser keeps: it may refuse -----------------------------------------------------------------------

function kept(store, name) {
  try {
    return window[store].getItem(name);
  } catch {
    return null;
  }
}

function keep(store, name, value) {
  try {
    if (value === null) window[store].removeItem(name);
    else window[store].setItem(name, value);
  } catch {
    // Private windows refuse; then it is forgotten with the page.
  }
}

// ---- asking the server -------------------------------------------------------------------------------------------

/** What a person is told: the key of a string, what is filled in, the status, how many seconds to wait. */
class Failure extends Error {
  constructor(key, values = {}, status = 0, wait = 0) {
    super(key);
    Object.assign(this, { key, values, status, wait });
  }
}

const REFUSALS = {
  401: "error.token",
  404: "error.missing",
  408: "error.slow",
  413: "error.large",
  429: "error.busy",
  503: "error.busy",
  504: "error.slow",
};

async function ask(path, signal, body) {
  const token = kept("sessionStorage", "fenlei.token");
  const headers = { Accept: "application/json, text/plain, text/html" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const options = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal };
  const response = await fetch(path, { ...options, cache: "no-store" }).catch((error) => {
    throw signal.aborted ? error : new Failure("error.offline");
  });
  if (!response.ok) throw await refusal(response, Boolean(token));
  return response;
}

async function refusal(response, hadToken) {
  const { status } = response;
  const detail = String((await response.json().catch(() => ({})))?.error ?? response.statusText);
  const wait = Math.min(Number(response.headers.get("Retry-After")) || 1, LONGEST_WAIT);
  const key = REFUSALS[status] ?? (status < 500 ? "error.refused" : "error.server");
  return new Failure(status === 401 && hadToken ? "error.token.wrong" : key, { detail, status }, status, wait);
}

/** The server's JSON; a busy server is asked again when it says. */
async function answered(path, signal, body) {
  for (let turn = 0; ; turn += 1) {
    const start = performance.now();
    try {
      const response = await ask(path, signal, body);
      if (turn) hush();
      return await response.json().catch((error) => {
        throw signal.aborted ? error : new Failure("error.answer");
      });
    } catch (error) {
      if (error.status !== 503 || turn === PATIENCE) throw error;
      // It tried: to ask the same again would only keep it busy.
      if (performance.now() - start > TRIED) throw new Failure("error.slow");
      tell("wait.busy", { seconds: error.wait });
      await pause(error.wait * 1000, signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const alarm = setTimeout(resolve, milliseconds);
    const stop = () => (clearTimeout(alarm), reject(signal.reason));
    signal.addEventListener("abort", stop, { once: true });
  });
}

async function predictions(signal, request) {
  const found = await answered("predict", signal, { ...request, model: state.info?.model });
  const right = (each) => Array.isArray(each?.labels) && Array.isArray(each.probabilities);
  if (!Array.isArray(found?.predictions) || !found.predictions.every(right)) throw new Failure("error.answer");
  return found.predictions;
}

/** The coverage that was chosen, for the request. */
function rule() {
  const share = Number($("coverage").value);
  return share > 0 && share < 1 ? { coverage: share } : {};
}

// ---- what a person is told ---------------------------------------------------------------------------------------

function tell(key, values = {}) {
  state.notice = { key, values };
  drawNotice();
}

function hush() {
  state.notice = null;
  drawNotice();
}

function fail(error, signal) {
  if (signal.aborted) return;
  const known = error instanceof Failure ? error : new Failure("error.answer");
  tell(known.key, known.values);
  if (known.status !== 401) return;
  $("door").hidden = false;
  $("token").focus();
}

function drawNotice() {
  const box = $("notices");
  if (!state.notice) return box.replaceChildren();
  const line = document.createElement("p");
  put(line, state.notice.key, state.notice.values);
  const close = document.createElement("button");
  Object.assign(close, { type: "button", className: "quiet", textContent: "×" });
  close.setAttribute("aria-label", say("notice.close"));
  close.addEventListener("click", hush);
  const notice = document.createElement("div");
  notice.className = "notice";
  notice.append(line, close);
  return box.replaceChildren(notice);
}

function speak(text) {
  if ($("spoken").textContent !== text) $("spoken").textContent = text;
}

// ---- one text ----------------------------------------------------------------------------------------------------

function soon() {
  clearTimeout(timer);
  timer = setTimeout(() => classify(false), SOON);
}

/** Answers the text of the field; ``wanted``: a person asked for it, so words are weighed however long the text is. */
async function classify(wanted) {
  clearTimeout(timer);
  asking.text.abort();
  const text = $("text").value;
  if (!text.trim()) return forget();
  if (!state.info) return load(chosenModel());
  const { signal } = (asking.text = new AbortController());
  busy(true);
  try {
    const answer = await ranked(text, signal);
    if (signal.aborted) return undefined;
    hush();
    const late = !wanted && text.length > LIVE_WORDS ? "why.long" : null;
    Object.assign(state, { answer, late }, late && { explanation: null });
    drawAnswer();
    if (wanted) $("headline").scrollIntoView({ block: "nearest" });
    if (!late) await weigh(text, signal);
  } catch (error) {
    fail(error, signal);
  } finally {
    if (!signal.aborted) busy(false);
  }
  return undefined;
}

/** All classes, the likeliest first. With several labels a text, a second question asks which of them pass. */
async function ranked(text, signal) {
  const top = Math.min(state.info.labels.length, MOST_CLASSES);
  const questions = [predictions(signal, { text, top, ...rule() })];
  if (state.info.several) questions.push(predictions(signal, { text }));
  const [[answer], chosen] = await Promise.all(questions);
  return { ...answer, passing: chosen ? new Set(chosen[0].labels) : null };
}

/** A text can be short enough to be answered and too long for its words to be weighed. */
async function weigh(text, signal) {
  const found = await predictions(signal, { text, top: 1, explain: true }).catch((error) => {
    if (error.status !== 413) throw error;
    return [{}];
  });
  if (signal.aborted) return;
  const { explanation = null } = found[0];
  Object.assign(state, { explanation, late: explanation ? null : "why.refused" });
  drawWords();
}

function forget() {
  Object.assign(state, { answer: null, explanation: null, late: null });
  busy(false);
  drawAnswer();
}

function busy(on) {
  for (const id of ["answer", "why"]) $(id).setAttribute("aria-busy", String(on));
}

function drawAnswer() {
  const { answer } = state;
  $("empty").hidden = Boolean(answer);
  $("full").hidden = !answer;
  drawWords();
  if (!answer) return speak("");
  drawHeadline();
  drawBars();
  return speak($("headline").textContent);
}

function drawHeadline() {
  const { labels, probabilities, unknown, passing } = state.answer;
  const named = passing ? labels.map((label, place) => [label, probabilities[place]]) : [[labels[0], probabilities[0]]];
  const chosen = named.filter(([label]) => (passing ? passing.has(label) : label !== undefined && !unknown));
  const headline = $("headline");
  headline.classList.toggle("unsure", !chosen.length);
  if (chosen.length) headline.replaceChildren(...chosen.map(verdict));
  else put(headline, passing ? "answer.none" : "answer.unknown");
  drawRemark(chosen.length > 0);
}

function verdict([label, probability]) {
  const part = document.createElement("span");
  const share = document.createElement("span");
  share.className = "share";
  share.textContent = percent(probability);
  part.append(apart(legible(label)), " ", share);
  return part;
}

function drawRemark(certain) {
  const { labels, probabilities, passing } = state.answer;
  const remark = $("remark");
  remark.hidden = false;
  if (passing) return put(remark, certain ? "answer.several" : "answer.below");
  remark.hidden = certain || !labels.length;
  return remark.hidden || put(remark, "answer.unsure", { label: labels[0], share: percent(probabilities[0]) });
}

function drawBars() {
  const { labels } = state.answer;
  const list = $("bars");
  const count = state.all ? labels.length : Math.min(SHOWN, labels.length);
  while (list.children.length > count) list.lastElementChild.remove();
  while (list.children.length < count) list.append($("bar").content.cloneNode(true));
  [...list.children].forEach(drawBar);
  const more = $("more");
  more.hidden = labels.length <= SHOWN;
  more.setAttribute("aria-expanded", String(state.all));
  put(more, state.all ? "bars.fewer" : "bars.all", { n: labels.length });
}

function drawBar(item, place) {
  const { labels, probabilities, unknown, passing } = state.answer;
  const passes = passing ? passing.has(labels[place]) : place === 0 && !unknown;
  item.classList.toggle("chosen", passes);
  item.querySelector("bdi").textContent = legible(labels[place]);
  item.querySelector(".share").textContent = percent(probabilities[place]);
  item.querySelector(".fill").style.setProperty("--share", String(probabilities[place]));
  const tick = item.querySelector(".tick");
  tick.hidden = !(passing && passes);
  tick.title = say("answer.passes");
  tick.setAttribute("role", "img");
  tick.setAttribute("aria-label", say("answer.passes"));
}

// ---- the words ---------------------------------------------------------------------------------------------------

function drawWords() {
  const { explanation, late, answer } = state;
  $("why").hidden = !(explanation || late);
  if ($("why").hidden) return;
  const label = explanation?.label ?? answer.labels[0] ?? "";
  put($("why-title"), "why.title", { label });
  const pieces = explanation?.pieces ?? [];
  const heaviest = heavy(pieces);
  for (const id of ["legend", "weights"]) $(id).hidden = !heaviest.length;
  $("words").hidden = !explanation;
  $("later").hidden = heaviest.length > 0;
  put($("later"), late ?? "why.nothing");
  const strongest = Math.abs(heaviest[0]?.[1] ?? 0);
  $("words").replaceChildren(...pieces.map((piece) => coloured(piece, strongest, label)));
  $("heaviest").replaceChildren(...heaviest.map((piece) => weightOf(piece, strongest, label)));
}

/** The words that weigh most, either way, each once with the most it weighs. */
function heavy(pieces) {
  const strongest = Math.max(0, ...pieces.map(([, weight]) => Math.abs(weight)));
  const weighty = pieces.filter(([text, weight]) => shade(weight, strongest) && text.trim());
  const sorted = weighty.sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
  const seen = new Set();
  return sorted.filter(([text]) => !seen.has(text.trim()) && seen.add(text.trim())).slice(0, HEAVIEST);
}

/** From -5 to 5, how strong a colour is; 0 is none. */
function shade(weight, strongest) {
  const share = strongest ? Math.abs(weight) / strongest : 0;
  if (share < FAINTEST) return 0;
  return Math.sign(weight) * Math.min(SHADES, 1 + Math.floor(share * SHADES));
}

/** A piece as it was written: plain, or marked by colour, by its line and by its title. */
function coloured([text, weight], strongest, label) {
  const depth = shade(weight, strongest);
  if (!depth) return legible(text);
  const side = depth > 0 ? "for" : "against";
  const mark = document.createElement("mark");
  mark.className = `${side} ${side}-${Math.abs(depth)}`;
  mark.title = say(`why.weight.${side}`, { weight: signed(weight), label });
  mark.textContent = legible(text);
  return mark;
}

function weightOf([text, weight], strongest, label) {
  const item = document.createElement("li");
  const word = coloured([text.trim(), weight], strongest, label);
  const number = document.createElement("span");
  number.className = "share";
  number.textContent = signed(weight);
  item.append(typeof word === "string" ? apart(word) : word, " ", number);
  return item;
}

// ---- a file of lines ---------------------------------------------------------------------------------------------

async function open(files) {
  const [file] = files;
  if (!file) return;
  hush();
  try {
    const { text, gb18030 } = await read(file);
    const lines = text.split(/\r\n|\n|\r/);
    const rows = lines.map((line, place) => ({ line: place + 1, text: line })).filter((row) => row.text.trim());
    if (!rows.length) throw new Failure("error.file.empty", { name: file.name });
    if (rows.length > FILE_LINES) {
      throw new Failure("error.file.lines", { name: file.name, n: rows.length, most: FILE_LINES });
    }
    const empty = lines.length - rows.length - (lines.at(-1) === "" ? 1 : 0);
    if (files.length > 1) tell("error.file.many", { name: file.name });
    await answerFile({ name: file.name, gb18030, empty, rows, done: 0, stopped: false, shown: ROWS });
  } catch (error) {
    fail(error, { aborted: false });
  }
}

/** The text of a file: UTF-8, UTF-16 by its mark, or GB18030, each held strictly. */
async function read(file) {
  const { name } = file;
  if (file.size > FILE_BYTES) {
    throw new Failure("error.file.large", { name, size: size(file.size), most: size(FILE_BYTES) });
  }
  const bytes = await file.arrayBuffer().catch(() => {
    throw new Failure("error.file.unreadable", { name });
  });
  const encoding = [...new Set([marked(new Uint8Array(bytes)), "gb18030"])].find((each) => decodes(bytes, each));
  if (!encoding) throw new Failure("error.file.encoding", { name });
  const text = new TextDecoder(encoding).decode(bytes);
  if (text.includes("\0")) throw new Failure("error.file.binary", { name });
  return { text, gb18030: encoding === "gb18030" };
}

function marked([first, second]) {
  if (first === 0xff && second === 0xfe) return "utf-16le";
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
}

function decodes(bytes, encoding) {
  try {
    new TextDecoder(encoding, { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

async function answerFile(file) {
  asking.file.abort();
  const { signal } = (asking.file = new AbortController());
  Object.assign(state, { file });
  drawResults();
  $("results").scrollIntoView({ block: "nearest" });
  try {
    for (const batch of batches(file.rows)) {
      await answerRows(batch, signal);
      file.done += batch.length;
      drawResults();
    }
    speak($("summary").textContent);
  } catch (error) {
    file.stopped = true;
    fail(error, signal);
  } finally {
    if (state.file === file) drawResults();
  }
}

function* batches(rows) {
  let batch = [];
  let characters = 0;
  for (const row of rows) {
    if (batch.length === BATCH_TEXTS || (batch.length && characters + row.text.length > BATCH_CHARACTERS)) {
      yield batch;
      [batch, characters] = [[], 0];
    }
    batch.push(row);
    characters += row.text.length;
  }
  if (batch.length) yield batch;
}

/** Answers some rows at once; what is too much for the server is halved, down to one text that stays unanswered. */
async function answerRows(rows, signal) {
  const limit = state.info?.several ? {} : { top: PLACES };
  try {
    const found = await predictions(signal, { texts: rows.map((row) => row.text), ...limit, ...rule() });
    if (found.length !== rows.length) throw new Failure("error.answer");
    rows.forEach((row, place) => Object.assign(row, { answer: found[place] }));
  } catch (error) {
    if (![400, 413, 422].includes(error.status)) throw error;
    if (rows.length === 1) return Object.assign(rows[0], { failed: true });
    const half = rows.length >> 1;
    await answerRows(rows.slice(0, half), signal);
    await answerRows(rows.slice(half), signal);
  }
  return undefined;
}

/** What the row is called in the table: its labels, none where it is unknown. */
function named({ answer }) {
  if (!answer || answer.unknown) return [];
  return state.info?.several ? answer.labels : answer.labels.slice(0, 1);
}

function drawResults() {
  const { file } = state;
  $("results").hidden = !file;
  if (!file) return;
  const running = file.done < file.rows.length && !file.stopped;
  put($("results-title"), "results.title", { name: file.name });
  $("stop").hidden = !running;
  $("close").hidden = $("download").hidden = running;
  $("progress").hidden = !running;
  $("progress").max = file.rows.length;
  $("progress").value = file.done;
  drawSummary(file);
  drawFilter(file, running);
  drawRows(file);
}

function drawSummary(file) {
  const answers = file.rows.filter((row) => row.answer);
  const unknown = answers.filter((row) => !named(row).length).length;
  const failed = file.rows.filter((row) => row.failed).length;
  const parts = [say("results.sum", { done: answers.length, n: file.rows.length })];
  if (unknown) parts.push(say("results.unknown", { n: unknown }));
  if (failed) parts.push(say("results.failed", { n: failed }));
  if (file.empty) parts.push(say("results.empty", { n: file.empty }));
  if (file.gb18030) parts.push(say("results.gb18030"));
  if (file.stopped) parts.push(say("results.stopped"));
  $("summary").textContent = parts.join(state.language === "zh" ? "" : " ");
}

function drawFilter(file, running) {
  const counts = new Map();
  for (const row of file.rows.filter((each) => each.answer)) {
    for (const label of named(row).length ? named(row) : [null]) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  $("sieve").hidden = running || counts.size < 2;
  const sorted = [...counts].sort((one, other) => other[1] - one[1]);
  const choices = sorted.map(([label, n]) => {
    const text = say("results.filter.one", { label: label ?? say("answer.unknown"), n });
    return option(text, label === null ? "unknown" : `=${label}`);
  });
  const chosen = $("filter").value;
  $("filter").replaceChildren(option(say("results.filter.all", { n: file.rows.length }), ""), ...choices);
  $("filter").value = choices.some((each) => each.value === chosen) ? chosen : "";
}

function option(text, value) {
  const element = document.createElement("option");
  Object.assign(element, { textContent: text, value });
  return element;
}

function drawRows(file) {
  const wanted = $("filter").value;
  const fits = (row) => (wanted === "unknown" ? !named(row).length : named(row).includes(wanted.slice(1)));
  const rows = file.rows.filter((row) => (row.answer || row.failed) && (!wanted || (row.answer && fits(row))));
  $("rows").replaceChildren(...rows.slice(0, file.shown).map(drawRow));
  $("further").hidden = rows.length <= file.shown;
  put($("further"), "results.further", { n: rows.length - file.shown });
}

function drawRow(row) {
  const line = $("row").content.cloneNode(true).firstElementChild;
  const [number, text, label, probability, open] = line.children;
  number.textContent = shown(row.line);
  text.firstElementChild.textContent = legible(row.text);
  const names = named(row);
  const otherwise = say(row.failed ? "row.failed" : state.info?.several ? "answer.none" : "answer.unknown");
  label.classList.toggle("unsure", !names.length);
  label.replaceChildren(...(names.length ? names.map((name) => apart(legible(name))) : [otherwise]));
  probability.textContent = row.answer?.probabilities.length ? percent(row.answer.probabilities[0]) : "";
  const button = open.firstElementChild;
  button.textContent = say("row.words");
  button.setAttribute("aria-label", say("row.words.label", { n: row.line }));
  button.addEventListener("click", () => show(row.text));
  return line;
}

/** Puts a text into the field and answers it. */
function fill(text) {
  $("text").value = text;
  counted();
  classify(true);
}

/** From the table up to the answer. */
function show(text) {
  fill(text);
  $("answer").focus();
}

// ---- what can be taken along -------------------------------------------------------------------------------------

/** text,label,probability,label2,probability2,...: as `fenlei predict --format csv` writes it. */
function csv(file) {
  const places = Math.max(PLACES, ...file.rows.map((row) => named(row).length));
  const heading = ["text"];
  for (let place = 1; place <= places; place += 1) {
    heading.push(...["label", "probability"].map((name) => `${name}${place > 1 ? place : ""}`));
  }
  return [heading.map(quoted), ...file.rows.map((row) => cells(row, heading.length))]
    .map((line) => `${line.join(",")}\n`)
    .join("");
}

function cells(row, count) {
  const line = [quoted(row.text)];
  if (named(row).length) row.answer.labels.forEach((label, place) => line.push(quoted(label), row.answer.probabilities[place]));
  while (line.length < count) line.push('""');
  return line;
}

function quoted(cell) {
  const harmless = FORMULA.some((sign) => cell.startsWith(sign)) ? `'${cell}` : cell;
  return `"${harmless.replaceAll('"', '""')}"`;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function download() {
  // The mark at the beginning tells spreadsheets that this is UTF-8.
  save(new Blob(["\ufeff", csv(state.file)], { type: "text/csv;charset=utf-8" }), "fenlei.csv");
}

/** A link cannot carry the token: with one, card and report are fetched and saved. */
async function carry(event, name) {
  if (!kept("sessionStorage", "fenlei.token")) return;
  event.preventDefault();
  const signal = { aborted: false };
  try {
    const response = await ask(event.currentTarget.getAttribute("href"), asking.info.signal);
    save(await response.blob(), name);
  } catch (error) {
    fail(error, signal);
  }
}

// ---- the model ---------------------------------------------------------------------------------------------------

/** The model that the address names, as in ?model=news. */
function chosenModel() {
  return new URLSearchParams(location.search).get("model");
}

async function load(model) {
  asking.info.abort();
  const { signal } = (asking.info = new AbortController());
  try {
    const info = await answered(model ? `info?model=${encodeURIComponent(model)}` : "info", signal);
    if (!Array.isArray(info?.labels)) throw new Failure("error.answer");
    const changed = state.info && state.info.model !== info.model;
    Object.assign(state, { info, all: false }, changed && { file: null });
    $("door").hidden = true;
    hush();
    drawModel();
    await classify(false);
  } catch (error) {
    fail(error, signal);
  }
}

function drawModel() {
  const { info } = state;
  if (!info) return;
  const query = `?model=${encodeURIComponent(info.model)}`;
  $("card").href = `card${query}`;
  $("report").href = `report${query}`;
  $("report").hidden = !info.report;
  const names = info.models ?? [info.model];
  $("choice").hidden = names.length < 2;
  $("model").replaceChildren(...names.map((name) => option(legible(name), name)));
  $("model").value = info.model;
  drawKnown(info.labels);
  drawExamples(info.examples ?? []);
  drawCoverage(info.coverage ?? []);
  drawAbout(info);
  drawResults();
}

function drawKnown(labels) {
  const items = labels.slice(0, NAMED).map((label) => {
    const item = document.createElement("li");
    item.append(apart(legible(label)));
    return item;
  });
  if (labels.length > NAMED) {
    items.push(document.createElement("li"));
    items.at(-1).className = "others";
    put(items.at(-1), "answer.others", { n: labels.length - NAMED });
  }
  $("known").replaceChildren(...items);
}

function drawExamples(texts) {
  $("samples").hidden = !texts.length;
  const items = texts.slice(0, EXAMPLES).map((text) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "example", title: legible(text) });
    button.append(apart(legible(text.slice(0, 200).trim())));
    button.addEventListener("click", () => fill(text));
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  $("examples").replaceChildren(...items);
}

/** The shares that are worth their refusals: each is right more often than all before it. */
function drawCoverage(curve) {
  $("surest").hidden = !curve.length;
  const chosen = $("coverage").value;
  const choices = [];
  let best = -1;
  for (const share of curve.length ? [1, ...SHARES] : []) {
    const [, , accuracy] = pointAt(curve, share);
    if (accuracy <= best) continue;
    best = accuracy;
    const values = { share: whole(share), accuracy: percent(accuracy) };
    choices.push(option(say(share === 1 ? "coverage.all" : "coverage.share", values), String(share)));
  }
  $("coverage").replaceChildren(...choices);
  $("coverage").value = choices.some((each) => each.value === chosen) ? chosen : "1";
}

/** The point [threshold, coverage, accuracy] by which the server answers such a share: the last that covers it. */
function pointAt(curve, share) {
  return curve.findLast(([, covered]) => covered >= share) ?? curve[0];
}

function drawAbout(info) {
  const scores = info.scores ?? {};
  const facts = {
    name: info.model,
    labels: info.labels.length,
    accuracy: scores.accuracy === undefined ? undefined : percent(scores.accuracy),
    micro_f1: scores.micro_f1?.toFixed(4),
    macro_f1: scores.macro_f1?.toFixed(4),
    n: scores.n,
    parameters: info.parameters,
    bytes: info.bytes === undefined ? undefined : size(info.bytes),
    digest: info.digest?.slice(0, 12),
    fenlei: info.fenlei,
  };
  const known = Object.entries(facts).filter(([, value]) => value !== undefined && value !== null);
  $("about").replaceChildren(...known.map(([name, value]) => fact(name, value, info)));
}

function fact(name, value, info) {
  const pair = document.createElement("div");
  const term = document.createElement("dt");
  const told = document.createElement("dd");
  put(term, `about.${name}`);
  told.append(apart(shown(value)));
  if (name === "digest") told.title = info.digest;
  pair.append(term, told);
  return pair;
}

// ---- the language ------------------------------------------------------------------------------------------------

function speakIn(language) {
  state.language = language;
  document.documentElement.lang = tongue();
  document.title = say("title");
  for (const element of document.querySelectorAll("[data-say]")) put(element, element.dataset.say);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
  for (const element of document.querySelectorAll("[data-title]")) element.title = say(element.dataset.title);
  for (const element of document.querySelectorAll("[data-placeholder]")) element.placeholder = say(element.dataset.placeholder);
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh-Hans";
  put($("limits"), "limits", { lines: FILE_LINES, size: size(FILE_BYTES) });
  put($("invitation"), "answer.invite");
  counted();
  drawModel();
  drawAnswer();
  drawResults();
  drawNotice();
}

function firstLanguage() {
  const chosen = kept("localStorage", "fenlei.language");
  if (Object.keys(STRINGS).includes(chosen)) return chosen;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

function counted() {
  const n = [...$("text").value].length;
  put($("count"), "characters", { n });
  $("clear").disabled = n === 0;
}

// ---- hands -------------------------------------------------------------------------------------------------------

function onType(event) {
  counted();
  // While a Chinese word is being composed, its letters are no text yet.
  if (!event.isComposing) soon();
}

function onKey(event) {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  classify(true);
}

function onDrag(event) {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  $("write").classList.toggle("dropping", event.type === "dragover");
  if (event.type === "drop") open([...event.dataTransfer.files]);
}

function onToken(event) {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  // A header holds no other characters, and no server wants them.
  if (!/^[\x21-\x7e]+$/.test(token)) return tell("error.token.wrong");
  keep("sessionStorage", "fenlei.token", token);
  return load(state.info?.model ?? chosenModel());
}

const HANDS = {
  text: { input: onType, compositionend: onType, keydown: onKey },
  clear: { click: () => (fill(""), $("text").focus()) },
  choose: { click: () => $("file").click() },
  file: { change: ({ target }) => open([...target.files]).finally(() => (target.value = "")) },
  classify: { click: () => classify(true) },
  coverage: { change: () => classify(true) },
  model: { change: ({ target }) => load(target.value) },
  language: { click: changeLanguage },
  more: { click: () => (Object.assign(state, { all: !state.all }), drawBars()) },
  stop: { click: () => asking.file.abort() },
  close: { click: () => (Object.assign(state, { file: null }), drawResults(), $("choose").focus()) },
  download: { click: download },
  filter: { change: () => drawRows(state.file) },
  further: { click: () => ((state.file.shown += ROWS), drawRows(state.file)) },
  door: { submit: onToken },
  card: { click: (event) => carry(event, "fenlei-card.md") },
  report: { click: (event) => carry(event, "fenlei-report.html") },
};

function changeLanguage() {
  const language = state.language === "zh" ? "en" : "zh";
  keep("localStorage", "fenlei.language", language);
  speakIn(language);
}

for (const [id, hands] of Object.entries(HANDS)) {
  for (const [name, act] of Object.entries(hands)) $(id).addEventListener(name, act);
}
for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, onDrag);
speakIn(firstLanguage());
load(chosenModel());
