//! The examples of the providers' own documents, and attempts to get past them.

use super::*;

/// A request, and the secret that it is signed with.
struct Example {
    method: Method,
    secret: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// The time at which it was signed, where that counts.
    time: Option<u64>,
}

/// GitHub: "Validating webhook deliveries", which gives secret, payload and signature.
const GITHUB: Example = Example {
    method: Method::GitHub,
    secret: "It's a Secret to Everybody",
    headers: &[("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
    body: "Hello, World!",
    time: None,
};

/// Stripe: "Resolve webhook signature verification errors" gives this time and this form of the header, and no secret. The
/// signature is by OpenSSL.
const STRIPE: Example = Example {
    method: Method::Stripe,
    secret: "whsec_test_secret",
    headers: &[(
        "stripe-signature",
        "t=1492774577,\
         v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd,\
         v1=1a431ef5acf445357d2b53e7a066e422772df599d06c17b461939c3f53e8587b,\
         v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aaa816edb039989a39",
    )],
    body: r#"{"id":"evt_1MqqbKLt4dXK03v5qaIbiNCC","object":"event","type":"charge.succeeded"}"#,
    time: Some(1_492_774_577),
};

/// Slack: "Verifying requests from Slack", which gives all of it.
const SLACK: Example = Example {
    method: Method::Slack,
    secret: "8f742231b10e8888abcd99yyyzzz85a5",
    headers: &[
        ("x-slack-request-timestamp", "1531420618"),
        ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    ],
    body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
           channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
           response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
           trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    time: Some(1_531_420_618),
};

/// Standard Webhooks: the example of its reference implementations.
const STANDARD: Example = Example {
    method: Method::Standard,
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    headers: &[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1a,bm90IHRoaXM= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ],
    body: r#"{"test": 2432232314}"#,
    time: Some(1_614_265_330),
};

const BEARER: Example = Example {
    method: Method::Bearer,
    secret: "s3cr3t-t0k3n",
    headers: &[("authorization", "Bearer s3cr3t-t0k3n")],
    body: "anything",
    time: None,
};

const EXAMPLES: [Example; 5] = [GITHUB, STRIPE, SLACK, STANDARD, BEARER];

impl Example {
    fn headers(&self) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), value.parse().unwrap());
        self.headers.iter().map(pair).collect()
    }

    /// Checks the request so many seconds after it was signed.
    fn check(&self, secrets: &str, headers: &HeaderMap, body: &str, later: i64) -> Result<(), Problem> {
        let signature = Signature::new(self.method, Some(&secrets.to_owned().into())).unwrap();
        let now = self.time.unwrap_or(1_700_000_000).saturating_add_signed(later);
        let claim = signature.begin(headers, UNIX_EPOCH + Duration::from_secs(now))?;
        signature.end(&claim, body.as_bytes())
    }
}

#[test]
fn the_examples_of_the_providers_are_accepted() {
    for example in EXAMPLES {
        assert_eq!(example.check(example.secret, &example.headers(), example.body, 0), Ok(()), "{:?}", example.method);
    }
}

#[test]
fn another_secret_or_body_is_refused_and_the_old_secret_is_accepted_beside_the_new_one() {
    for example in EXAMPLES {
        let method = example.method;
        let headers = example.headers();
        // Both are Base64 as well.
        let other = "whsec_b3RoZXI=";
        assert!(example.check(other, &headers, example.body, 0).is_err(), "{method:?}");
        let both = format!("{other}\n\n{}\r\n", example.secret);
        assert_eq!(example.check(&both, &headers, example.body, 0), Ok(()), "{method:?}");
        if method != Method::Bearer {
            let longer = format!("{} ", example.body);
            assert!(example.check(example.secret, &headers, &longer, 0).is_err(), "{method:?}");
            assert!(example.check(example.secret, &headers, "", 0).is_err(), "{method:?}");
        }
    }
}

#[test]
fn a_request_without_one_of_the_headers_or_with_one_twice_is_refused() {
    for example in EXAMPLES {
        for (name, value) in example.headers {
            let mut without = example.headers();
            without.remove(*name);
            assert!(example.check(example.secret, &without, example.body, 0).is_err(), "without {name}");
            let mut twice = example.headers();
            twice.append(*name, value.parse().unwrap());
            assert!(example.check(example.secret, &twice, example.body, 0).is_err(), "{name} twice");
        }
    }
}

#[test]
fn a_signature_is_good_for_five_minutes_before_and_after_its_time() {
    for example in EXAMPLES.into_iter().filter(|example| example.time.is_some()) {
        let check = |later| example.check(example.secret, &example.headers(), example.body, later);
        assert_eq!((check(300), check(-300)), (Ok(()), Ok(())), "{:?}", example.method);
        assert!(check(301).is_err() && check(-301).is_err(), "{:?}", example.method);
    }
}

#[test]
fn headers_that_are_written_in_another_way_are_refused() {
    let attempts: &[(Example, &str, &[&str])] = &[
        (GITHUB, "x-hub-signature-256", &["", "sha256=", "sha1=757107ea", "757107ea", "sha256=75\u{7f}"]),
        (
            STRIPE,
            "stripe-signature",
            &["", "t=1492774577", "t=1492774577,v1=", "t=1492774577,t=1492774577,v1=00", ",,,=,"],
        ),
        (
            SLACK,
            "x-slack-signature",
            &["", "v0=", "v1=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"],
        ),
        (SLACK, "x-slack-request-timestamp", &["", "soon", "-1", "+1531420618", "01531420618000", "1531420618.0"]),
        (
            STANDARD,
            "webhook-signature",
            &["", "v1,", "v1", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1,AAAA"],
        ),
        (STANDARD, "webhook-id", &["", "msg_p5jXN8AQM9LWM0D4loKWxJe"]),
        (
            BEARER,
            "authorization",
            &["", "Bearer", "Bearer ", "Basic s3cr3t-t0k3n", "s3cr3t-t0k3n", "Bearer s3cr3t-t0k3"],
        ),
    ];
    for (example, name, values) in attempts {
        for value in *values {
            let Ok(value) = http::HeaderValue::from_str(value) else { continue };
            let mut headers = example.headers();
            headers.insert(*name, value.clone());
            assert!(example.check(example.secret, &headers, example.body, 0).is_err(), "{name}: {value:?}");
        }
    }
}

#[test]
fn older_names_of_standard_webhooks_are_known() {
    let mut headers = HeaderMap::new();
    for (name, value) in STANDARD.headers {
        let name: HeaderName = name.replace("webhook-", "svix-").parse().unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    assert_eq!(STANDARD.check(STANDARD.secret, &headers, STANDARD.body, 0), Ok(()));
}

#[test]
fn a_check_needs_the_secrets_of_its_method() {
    let made = |method, secret: Option<&str>| {
        let secret = secret.map(|secret| SecretString::from(secret.to_owned()));
        Signature::new(method, secret.as_ref()).map(|signature| signature.method())
    };
    assert_eq!(made(Method::None, None), Ok(Method::None));
    assert_eq!(made(Method::None, Some("")), Err(SignatureError::NeedlessSecret));
    assert_eq!(made(Method::GitHub, None), Err(SignatureError::NoSecret));
    assert_eq!(made(Method::Bearer, Some(" \n\n")), Err(SignatureError::NoSecret));
    assert_eq!(made(Method::Standard, Some("MfKQ9r8G\nwhsec_?")), Err(SignatureError::NotBase64(2)));
    assert_eq!(made(Method::Slack, Some(&"a\n".repeat(9))), Err(SignatureError::TooMany(9)));
}

#[test]
fn printing_a_check_shows_no_secret() {
    let signature = Signature::new(Method::Bearer, Some(&"hunter2".to_owned().into())).unwrap();
    assert!(!format!("{signature:?}").contains("hunter2"));
}
