/** Server-sent events that come back by themselves, also where the line died without a word. */

/** The server says that it is still there every 15 s; a line silent for this long is dead. */
const SILENT_MILLISECONDS = 40_000;
const CUT = "the connection was cut";

export interface Hearer {
  open: () => void;
  message: (message: MessageEvent<string>) => void;
  /** Nothing comes any more; another line is tried without anybody's doing. */
  cut: (problem: string) => void;
  /** The server said no, and nothing more is tried. */
  refused: () => void;
}

/** Hear the events from `where`, asked for anew whenever a line is opened; returns how to stop. */
export function hear(where: () => string, hearer: Hearer): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      hearer.cut(CUT);
      start();
    }, SILENT_MILLISECONDS);
  };

  function stop(): void {
    clearTimeout(timer);
    source?.close();
  }

  function start(): void {
    source?.close();
    const opened = source = new EventSource(where());
    opened.onopen = () => {
      heard();
      hearer.open();
    };
    opened.onmessage = (message: MessageEvent<string>) => {
      heard();
      hearer.message(message);
    };
    opened.addEventListener("still", heard);
    opened.onerror = () => {
      // The browser retries a cut line by itself; a refused one it gives up.
      if (opened.readyState !== EventSource.CLOSED) {
        hearer.cut(CUT);
        return;
      }
      stop();
      hearer.refused();
    };
    heard();
  }

  start();
  return stop;
}
