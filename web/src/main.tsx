import { render } from "preact";
import { App } from "./app";
import { startTheme } from "./theme";
import "./styles/tokens.css";
import "./styles/page.css";
import "./styles/panels.css";
import "./styles/lists.css";

startTheme();
render(<App />, document.getElementById("page") as HTMLElement);
