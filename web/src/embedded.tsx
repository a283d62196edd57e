/** The report file: one run and its examples, drawn from the data in the document itself. */

import { render } from "preact";
import { useMemo } from "preact/hooks";
import { readFrom } from "./api";
import { Tab, ThemeButton } from "./bar";
import { Board } from "./board";
import { open } from "./fold";
import { formatTime } from "./format";
import { ExamplesPage } from "./pages/examples";
import { to, useRoute } from "./route";
import { embedded, type Embedded } from "./source";
import { startTheme, Theme, useTheme } from "./theme";
import "./styles/tokens.css";
import "./styles/page.css";
import "./styles/panels.css";
import "./styles/lists.css";

function Report({ data }: { data: Embedded }) {
  const theme = useTheme();
  // Ages are told from the day the file is opened; its data are those of the day it was written.
  const view = useMemo(() => ({ ...open(data.run), now: Date.now() / 1000 }), [data]);
  const route = useRoute();
  const { id } = data.run;
  return (
    <Theme.Provider value={theme.shown}>
      <header class="bar">
        <span class="brand"><span class="brand-mark" aria-hidden="true" />heldout</span>
        {data.examples && (
          <nav class="pages of-file" aria-label="Pages">
            <Tab href="#" here={route.page !== "examples"}>Run</Tab>
            <Tab href={to.examples(id)} here={route.page === "examples"}>Examples</Tab>
          </nav>
        )}
        <span class="spacer" />
        <span class="small-print written">
          Report written <time dateTime={new Date(data.written * 1000).toISOString()}>{formatTime(data.written)}</time>
        </span>
        <ThemeButton {...theme} />
      </header>
      <main data-state={view.snapshot.state}>
        {route.page === "examples" ? <ExamplesPage id={id} query={route.query} version="" /> : <Board view={view} />}
        {!data.examples && view.snapshot.evals.length > 0 && (
          <p class="small-print">
            The texts of the examples are left out of this file: heldout report --examples puts them in, heldout ui shows them.
          </p>
        )}
      </main>
    </Theme.Provider>
  );
}

startTheme();
const data = JSON.parse(document.getElementById("heldout-data")?.textContent ?? "") as Embedded;
readFrom(embedded(data));
document.title = `${data.run.id} · heldout report`;
render(<Report data={data} />, document.getElementById("page") as HTMLElement);
