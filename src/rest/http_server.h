// SPDX-License-Identifier: Apache-2.0
// HttpServer: the HTTP library's server with our connections, threads and limits. Made and stopped
// by rest::Server; its listener and its workers are the library's threads.
#pragma once

#include <condition_variable>
#include <functional>
#include <future>
#include <httplib.h>
#include <mutex>
#include <string>

#include "rest/answers.h"
#include "rest/connection.h"
#include "rest/transcoder.h"

namespace remora::rest {

class HttpServer final : public httplib::Server {
  public:
    using Answerer = std::function<HttpAnswer(const HttpRequest&)>;

    explicit HttpServer(Answerer answerer);
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;
    ~HttpServer() override;

    /// Listens, and takes connections from now on. The port, or -1 when it cannot be had. Once.
    int start(const std::string& host, int port);
    /// No more connections; those there are end within `grace_ms`, while calls may take longer.
    void begin_stop(std::int64_t grace_ms);
    /// Whether all threads are done, after waiting for at most `wait_ms`.
    bool ended(std::int64_t wait_ms);

  private:
    bool process_and_close_socket(socket_t socket) override;
    void serve(Connection& connection);
    void answer(const httplib::Request& request, std::string body, httplib::Response& response);
    void install_handlers();
    void listen_until_stopped();
    bool listen_again();

    Answerer answerer_;
    StopTime stop_time_{kNeverStops};
    std::string host_;
    int port_ = 0;

    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;
    bool listening_ = false;  ///< The library's loop runs, so its stop() does something.

    std::promise<void> done_;
    std::future<void> finished_ = done_.get_future();
    httplib::ThreadPool listener_{1};
};

}  // namespace remora::rest
