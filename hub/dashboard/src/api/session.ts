import { request } from "./http";

/** Show the hub its token; it answers with a cookie that scripts cannot read. Throws ApiError (401) for a wrong one. */
export const openSession = (token: string) => request<void>("POST", "/session", { body: { token } });
