/** The report file: the board of one run, drawn from the data in the document itself. */

import { render } from "preact";
import { useMemo } from "preact/hooks";
import { readFrom } from "./api";
import { ThemeButton } from "./bar";
import { Board } from "./board";
import { open } from "./fold";
import { formatTime } from "./format";
import { embedded, type Embedded } from "./source";
import { startTheme, Theme, useTheme } from "./theme";
import "./styles/tokens.css";
import "./styles/page.css";
import "./styles/panels.css";

function Report({ data }: { data: Embedded }) {
  const theme = useTheme();
  // Ages are told from the day the file is opened; its data are those of the day it was written.
  const view = useMemo(() => ({ ...open(data.run), now: Date.now() / 1000 }), [data]);
  return (
    <Theme.Provider value={theme.shown}>
      <header class="bar">
        <span class="brand"><span class="brand-mark" aria-hidden="true" />heldout</span>
        <span class="spacer" />
        <span class="small-print">
          Report written <time dateTime={new Date(data.written * 1000).toISOString()}>{formatTime(data.written)}</time>
        </span>
        <ThemeButton {...theme} />
      </header>
      <main data-state={view.snapshot.state}><Board view={view} /></main>
    </Theme.Provider>
  );
}

startTheme();
const data = JSON.parse(document.getElementById("heldout-data")?.textContent ?? "") as Embedded;
readFrom(embedded(data));
document.title = `${data.run.id} · heldout report`;
render(<Report data={data} />, document.getElementById("page") as HTMLElement);
