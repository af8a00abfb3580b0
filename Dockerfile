# A log in a container: build where compilers are, run where there is nothing but Node and what the server needs.
# scripts/check-dockerfile.ts performs these very steps where no container engine is; keep one RUN to one concern.

FROM node:22-slim AS build
# better-sqlite3 is compiled where its prebuilt binary cannot be fetched.
RUN apt-get update && apt-get install --yes --no-install-recommends python3 make g++
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY migrations ./migrations
COPY src ./src
RUN npm run build && chmod +x dist/cli/main.js
RUN npm prune --omit=dev

FROM node:22-slim
# Nothing is installed at run time, so nothing that installs is there.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn-* /usr/local/bin/yarn /usr/local/bin/yarnpkg
RUN mkdir /data && chown node:node /data && ln -s /app/dist/cli/main.js /usr/local/bin/cairn
WORKDIR /app
COPY LICENSE package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/migrations ./migrations
COPY --from=build /app/dist ./dist
ENV NODE_ENV=production LISTEN_ADDR=0.0.0.0:8080 DATABASE_URL=sqlite:/data/log.db FS_ROOT=/data/tiles
USER node
VOLUME /data
EXPOSE 8080
# /health says that the process is up; /ready would take a log out of service whose tiles can still be read.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.LISTEN_ADDR.split(':').pop() + '/health').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/app/dist/cli/main.js"]
CMD ["serve"]
