import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { hear } from "./stream";

/** As much of a browser's EventSource as the page uses. */
class Line extends EventTarget {
  static readonly CLOSED = 2;
  static opened: Line[] = [];
  readyState = 1;
  onopen = () => undefined;
  onmessage = (_: { data: string; lastEventId: string }) => undefined;
  onerror = () => undefined;

  constructor(readonly url: string) {
    super();
    Line.opened.push(this);
  }

  close(): void {
    this.readyState = Line.CLOSED;
  }
}

const QUIET_SECONDS = 40;
const latest = () => Line.opened.at(-1) as Line;
const wait = (seconds: number) => vi.advanceTimersByTime(1000 * seconds);

describe("a line of server-sent events", () => {
  let said: string[];
  let last: string;
  let stop: () => void;

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("EventSource", Line);
    Line.opened = [];
    [said, last] = [[], "7"];
    stop = hear(() => `events?cursor=${last}`, {
      open: () => said.push("open"),
      message: (message) => {
        last = message.lastEventId;
        said.push(message.data);
      },
      cut: (problem) => said.push(problem),
      refused: () => said.push("refused"),
    });
    latest().onopen();
  });

  afterEach(() => {
    stop();
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  it("stays for as long as the server says that it is still there", () => {
    for (let i = 0; i < 20; i += 1) {
      wait(15);
      latest().dispatchEvent(new Event("still"));
    }
    wait(QUIET_SECONDS - 1);
    expect(Line.opened).toHaveLength(1);
    expect(said).toEqual(["open"]);
  });

  it("is opened anew behind the last event once it is silent, and said to be cut", () => {
    wait(QUIET_SECONDS - 1);
    latest().onmessage({ data: "news", lastEventId: "12" });
    wait(QUIET_SECONDS - 1);
    expect(Line.opened).toHaveLength(1);
    wait(2);
    expect(Line.opened.map(({ url, readyState }) => [url, readyState])).toEqual([["events?cursor=7", Line.CLOSED], ["events?cursor=12", 1]]);
    expect(said).toEqual(["open", "news", "the connection was cut"]);
    latest().onopen();
    expect(said.at(-1)).toBe("open");
  });

  it("is tried again and again where nothing answers", () => {
    wait(4 * QUIET_SECONDS + 1);
    expect(Line.opened).toHaveLength(5);
    expect(Line.opened.filter(({ readyState }) => readyState !== Line.CLOSED)).toEqual([latest()]);
  });

  it("is left to the browser where it was cut, until that too is silent", () => {
    latest().readyState = 0;
    latest().onerror();
    expect(said).toEqual(["open", "the connection was cut"]);
    expect(Line.opened).toHaveLength(1);
    wait(QUIET_SECONDS + 1);
    expect(Line.opened).toHaveLength(2);
  });

  it.each([["refused", () => { latest().close(); latest().onerror(); }], ["stopped", () => stop()]])("is not opened again once %s", (_, end) => {
    end();
    wait(10 * QUIET_SECONDS);
    expect(Line.opened).toHaveLength(1);
    expect(latest().readyState).toBe(Line.CLOSED);
  });
});
