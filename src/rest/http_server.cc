// SPDX-License-Identifier: Apache-2.0
#include "rest/http_server.h"

#include <chrono>
#include <semaphore>
#include <sys/socket.h>
#include <utility>

#include "core/log.h"

namespace remora::rest {

namespace {

constexpr std::size_t kWorkers = 16;
/// Connections that have a worker or wait for one; others wait in the system's queue.
constexpr std::ptrdiff_t kMostConnections = 64;
constexpr int kMostRequestsOfAConnection = 100;
constexpr std::chrono::seconds kPauseBetweenListens{1};

/// The library's pool with a bound on what waits.
class BoundedPool final : public httplib::TaskQueue {
  public:
    void enqueue(std::function<void()> task) override {
        room_.acquire();  // Bounded: each connection ends in time.
        pool_.enqueue([this, task = std::move(task)] {
            task();
            room_.release();
        });
    }
    void shutdown() override { pool_.shutdown(); }

  private:
    std::counting_semaphore<kMostConnections> room_{kMostConnections};
    httplib::ThreadPool pool_{kWorkers};
};

bool may_have_body(const std::string& method) {
    return method == "POST" || method == "PUT" || method == "PATCH" || method == "DELETE";
}

}  // namespace

HttpServer::HttpServer(Answerer answerer) : answerer_(std::move(answerer)) {
    // The library's default would let two daemons share one port and its clients at random.
    set_socket_options([](socket_t socket) {
        const int on = 1;
        (void)setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    });
    set_payload_max_length(kLargestBody);
    set_keep_alive_max_count(kMostRequestsOfAConnection);
    set_default_headers({{"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-store"}});
    new_task_queue = [this]() -> httplib::TaskQueue* {
        {
            const std::scoped_lock lock(mutex_);
            listening_ = !stopping_;
            if (stopping_) {
                httplib::Server::stop();
            }
        }
        return new BoundedPool;  // The library deletes it.
    };
    install_handlers();
}

HttpServer::~HttpServer() {
    begin_stop(0);
    listener_.shutdown();
}

void HttpServer::install_handlers() {
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
        if (may_have_body(request.method)) {
            return HandlerResponse::Unhandled;
        }
        answer(request, "", response);
        return HandlerResponse::Handled;
    });
    // Every path is "/" to the library (serve() sees to it): what a path is, the routes say.
    const auto with_body = [this](const httplib::Request& request, httplib::Response& response,
                                  const httplib::ContentReader& reader) {
        std::string body;
        bool too_large = false;
        const auto take = [&](const char* piece, std::size_t size) {
            too_large = body.size() + size > kLargestBody;
            if (!too_large) {
                body.append(piece, size);
            }
            return !too_large;
        };
        const bool has_body =
            request.has_header("content-length") || request.has_header("transfer-encoding");
        if (!has_body || reader(take)) {
            answer(request, std::move(body), response);
            return;
        }
        const HttpAnswer refused =
            too_large ? refusal(413, grpc::StatusCode::INVALID_ARGUMENT, "the body is too large")
                      : refusal(400, grpc::StatusCode::INVALID_ARGUMENT,
                                "the body did not come whole, or its chunks are malformed");
        response.status = refused.status;
        response.set_content(refused.body, "application/json");
    };
    Post("/", with_body);
    Put("/", with_body);
    Patch("/", with_body);
    Delete("/", with_body);
    set_exception_handler([](const httplib::Request& /*request*/, httplib::Response& response,
                             std::exception_ptr /*thrown*/) {
        response.status = 500;
        response.set_content(
            refusal(500, grpc::StatusCode::INTERNAL, "the request could not be handled").body,
            "application/json");
    });
    set_error_handler([](const httplib::Request& /*request*/, httplib::Response& response) {
        if (response.body.empty()) {  // The library's own refusals.
            response.set_content(refusal(response.status, grpc::StatusCode::INVALID_ARGUMENT,
                                         "the request is malformed")
                                     .body,
                                 "application/json");
        }
    });
}

void HttpServer::answer(const httplib::Request& request,
                        std::string body,
                        httplib::Response& response) {
    HttpRequest asked;
    asked.method = request.method;
    asked.target = request.target;
    asked.content_type = request.get_header_value(std::string(kContentTypeField));
    asked.content_encoding = request.get_header_value(std::string(kContentEncodingField));
    asked.host = request.get_header_value("host");
    asked.origin = request.get_header_value("origin");
    asked.timeout = request.get_header_value("grpc-timeout");
    asked.body = std::move(body);
    asked.peer = request.remote_addr;
    if (!asked.peer.empty()) {
        asked.peer += ':' + std::to_string(request.remote_port);
    }
    const HttpAnswer made = answerer_(asked);
    response.status = made.status;
    if (!made.allow.empty()) {
        response.set_header("Allow", made.allow);
    }
    response.set_content(made.body, "application/json");
}

bool HttpServer::process_and_close_socket(socket_t socket) {
    Connection connection(socket, stop_time_);
    try {
        serve(connection);
    } catch (const std::exception& error) {  // No memory, say; nothing else is expected.
        log::warn("rest connection given up", log::kv("error", error.what()));
    }
    return true;
}

void HttpServer::serve(Connection& connection) {
    for (int served = 1; connection.next_request(); ++served) {
        const bool last = served == kMostRequestsOfAConnection || connection.head().chunked ||
                          stop_time_.load() != kNeverStops;
        bool closed = false;
        const bool done = process_request(connection, last, closed,
                                          [](httplib::Request& request) { request.path = "/"; });
        if (!done || closed || last || !connection.consumed()) {
            return;
        }
    }
}

int HttpServer::start(const std::string& host, int port) {
    host_ = host;
    port_ = port == 0 ? bind_to_any_port(host) : bind_to_port(host, port) ? port : -1;
    if (port_ > 0) {
        listener_.enqueue([this] { listen_until_stopped(); });
    } else {
        done_.set_value();
    }
    return port_;
}

void HttpServer::listen_until_stopped() {
    do {
        listen_after_bind();
    } while (listen_again());
    done_.set_value();
}

/// The library gives up when accept fails in a way it does not know (ECONNABORTED, ENFILE); a
/// server does not.
bool HttpServer::listen_again() {
    std::unique_lock lock(mutex_);
    listening_ = false;
    while (!stopping_) {
        log::warn("rest listener ended; it listens anew", log::kv("port", port_));
        if (bind_to_port(host_, port_)) {
            return true;
        }
        changed_.wait_for(lock, kPauseBetweenListens, [this] { return stopping_; });
    }
    return false;
}

void HttpServer::begin_stop(std::int64_t grace_ms) {
    const std::scoped_lock lock(mutex_);
    if (stopping_) {
        return;
    }
    stopping_ = true;
    stop_time_.store(now_ms() + grace_ms);
    changed_.notify_all();
    if (listening_) {
        httplib::Server::stop();
    }
}

bool HttpServer::ended(std::int64_t wait_ms) {
    return finished_.wait_for(std::chrono::milliseconds(wait_ms)) == std::future_status::ready;
}

}  // namespace remora::rest
