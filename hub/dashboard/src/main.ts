import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/blocks.css";
import "./styles/facts.css";
import "./components/app";
import { fleet } from "./live/fleet";

fleet.start();
