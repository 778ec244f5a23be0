import { request } from "./http";
import type { CalibrationView } from "./models.gen";

export type { CalibrationProfile, CalibrationView, CorrectionView, Profile } from "./models.gen";

/** What a robot is calibrated by, with the versions that the hub knows, newest first. */
export const getCalibration = (robot: string, signal?: AbortSignal) =>
  request<CalibrationView>("GET", `/robots/${encodeURIComponent(robot)}/calibration`, { signal });
